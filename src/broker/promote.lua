-- Moves delayed jobs that are due into their streams, the earliest first. A job that has a dedup key says there where it
-- is from now on, so that another can still take its place.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)
--         then the dedup keys (strings) that a call before asked for
-- ARGV    1 field of an entry  2 how many at most (1 to 128)  3 what dedup keys begin with
-- Returns {how many were moved, ms until the next is due or -1, …}, last the dedup keys of jobs that are due and wait
--         for a call that names these keys
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%d', now), 'LIMIT', 0, ARGV[2])
local named, asked, moved = {}, {}, 0
for k = 6, #KEYS do named[KEYS[k]] = k end

local function dedup_key(bytes)
  if not string.find(bytes, 'dedup', 1, true) then return nil end
  local json = string.find(bytes, '^%s*{')
  local good, job = pcall(json and cjson.decode or cmsgpack.unpack, bytes)
  local dedup = good and type(job) == 'table' and job.dedup
  return type(dedup) == 'table' and type(dedup.key) == 'string' and ARGV[3] .. dedup.key or nil
end

local function move(id, job, key)
  if job then
    -- Added before it is removed: refused for want of memory, it stays where it is.
    local lane = string.sub(job, 1, 1)
    local entry = redis.call('XADD', KEYS[tonumber(lane)], '*', ARGV[1], string.sub(job, 2))
    local held = key and redis.call('GET', KEYS[key])
    if held and string.match(held, '^%S+') == id then
      redis.pcall('SET', KEYS[key], id .. ' ' .. lane .. ':' .. entry, 'XX', 'KEEPTTL')
    end
  end
  redis.call('ZREM', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
  moved = moved + 1
end

for i = 1, #due do
  local job = redis.call('HGET', KEYS[5], due[i])
  local key = job and dedup_key(string.sub(job, 2))
  if key and not named[key] then
    asked[#asked + 1] = key
  else
    move(due[i], job, key and named[key])
  end
end
local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
local wait = first[2] and math.max(0, math.floor(tonumber(first[2])) - now) or -1
local reply = {moved, wait}
for n = 1, #asked do reply[n + 2] = asked[n] end
return reply
