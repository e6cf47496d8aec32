-- Takes jobs back that nobody works on: delayed ones, waiting ones, those handed back. What a worker owns is left to
-- it. Their results are committed; their completions are kept for replay and published here.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)  6 done (stream)  7 control (hash)
--         then the dedup keys of those jobs that have one
-- ARGV    1 group  2 the consumer that never beats  3 format of completions, m or j  4 PUBLISH or SPUBLISH
--         5 channel of the queue  6 field of a batch of completions
--         then per job: lane (0: delayed, 4: in the journal alone), entry id (or nothing), job id, which of KEYS its dedup key is (0: none),
--         open completion, channel of the kind, further channels separated by spaces
-- Returns one digit a job: 1 taken back, 0 not there or owned by a worker
local json = ARGV[3] == 'j'
local verdicts, finished = {}, {}

-- The owner is read from the reply: a filter by consumer is not to be relied on.
local function waits(lane, entry)
  local pending = redis.pcall('XPENDING', KEYS[lane], ARGV[1], entry, entry, 1)
  if pending.err or not pending[1] then return true end
  if not (pending[1][2] == ARGV[2]) then return false end
  redis.call('XACK', KEYS[lane], ARGV[1], entry)
  return true
end

local function removed(lane, entry, id)
  if lane == 0 then
    redis.call('HDEL', KEYS[5], id)
    return tonumber(redis.call('ZREM', KEYS[4], id)) == 1
  end
  return lane == 4 or (waits(lane, entry) and tonumber(redis.call('XDEL', KEYS[lane], entry)) == 1)
end

for i = 7, #ARGV, 7 do
  if removed(tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]) then
    verdicts[#verdicts + 1] = '1'
    finished[#finished + 1] = i + 4
    local key = tonumber(ARGV[i + 3])
    if key > 0 then
      local owner = redis.call('GET', KEYS[key])
      if owner and string.sub(owner, 1, #ARGV[i + 2]) == ARGV[i + 2] then redis.call('DEL', KEYS[key]) end
    end
  else
    verdicts[#verdicts + 1] = '0'
  end
end
if #finished == 0 then return table.concat(verdicts) end

-- Eight bytes, the highest first.
local function be8(number)
  local low, high = number % 4294967296, math.floor(number / 4294967296)
  local floor = math.floor
  return string.char(floor(high / 16777216) % 256, floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 16777216), floor(low / 65536) % 256, floor(low / 256) % 256, low % 256)
end

local function batch(parts)
  if json then return '[' .. table.concat(parts, ',') .. ']' end
  local n = #parts
  local head = n < 16 and string.char(144 + n) or string.char(220, math.floor(n / 256), n % 256)
  return head .. table.concat(parts)
end

local last = redis.pcall('HINCRBY', KEYS[7], 'seq', #finished)
if type(last) == 'table' then last = nil end
local all = {}
for n = 1, #finished do
  local seq = last and (last - #finished + n) or 0
  all[n] = ARGV[finished[n]] .. (json and string.format('%d}', seq) or be8(seq))
end
local whole = batch(all)
redis.pcall('XADD', KEYS[6], '*', ARGV[6], whole)
redis.pcall(ARGV[4], ARGV[5], whole)
for n = 1, #finished do
  local one = batch({all[n]})
  redis.pcall(ARGV[4], ARGV[finished[n] + 1], one)
  for channel in string.gmatch(ARGV[finished[n] + 2], '%S+') do redis.pcall(ARGV[4], channel, one) end
end
return table.concat(verdicts)
