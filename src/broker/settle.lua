-- Settles deliveries whose results are committed, for those that the consumer still owns: a retry or a
-- dead letter is added first (refused for want of memory: the delivery stays pending, nothing is lost),
-- then all are acknowledged and deleted, then completions are kept for replay and published.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)  6 crashes (hash)
--         7 dead (stream)  8 done (stream)  9 control (hash)
-- ARGV    1 group  2 consumer  3 format of completions, m or j  4 PUBLISH or SPUBLISH  5 channel of the queue
--         6 how long completions are kept, ms  7 field of a dead letter  8 field of a batch of completions
--         then per delivery: lane, entry id, verb (done, later or dead), job id, number (later: ms from now;
--         else how often its worker died), bytes (later: lane digit and envelope; dead: the letter),
--         open completion or nothing, channel of the kind, further channels separated by spaces
-- Returns one digit a delivery: 1 settled, 0 not owned, 2 refused for want of memory
local unpack = table.unpack or unpack
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local group, consumer, json = ARGV[1], ARGV[2], ARGV[3] == 'j'
local verdicts, acked, crashed, finished = {}, {{}, {}, {}}, {}, {}

local function refused(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

local function owned(lane, entry)
  local pending = redis.pcall('XPENDING', KEYS[lane], group, entry, entry, 1)
  return not refused(pending) and pending[1] and pending[1][2] == consumer
end

local function add(verb, id, number, bytes)
  if verb == 'later' then
    if refused(redis.pcall('HSET', KEYS[5], id, bytes)) then return false end
    return not refused(redis.pcall('ZADD', KEYS[4], string.format('%d', now + tonumber(number)), id))
  elseif verb == 'dead' then
    return not refused(redis.pcall('XADD', KEYS[7], '*', ARGV[7], bytes))
  end
  return true
end

for i = 9, #ARGV, 9 do
  local lane, entry, verb = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  if not owned(lane, entry) then
    verdicts[#verdicts + 1] = '0'
  elseif not add(verb, ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]) then
    verdicts[#verdicts + 1] = '2'
  else
    verdicts[#verdicts + 1] = '1'
    acked[lane][#acked[lane] + 1] = entry
    if ARGV[i + 6] ~= '' then finished[#finished + 1] = i + 6 end
    if verb == 'later' or ARGV[i + 4] ~= '0' then crashed[#crashed + 1] = lane .. ':' .. entry end
  end
end

for lane = 1, 3 do
  if #acked[lane] > 0 then
    redis.call('XACK', KEYS[lane], group, unpack(acked[lane]))
    redis.call('XDEL', KEYS[lane], unpack(acked[lane]))
  end
end
if #crashed > 0 then redis.call('HDEL', KEYS[6], unpack(crashed)) end
if #finished == 0 then return table.concat(verdicts) end

local function be8(number)
  local digits = {}
  for i = 8, 1, -1 do
    digits[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(digits)
end

local function batch(completions)
  if json then return '[' .. table.concat(completions, ',') .. ']' end
  local n = #completions
  local head = n < 16 and string.char(144 + n) or string.char(220, math.floor(n / 256), n % 256)
  return head .. table.concat(completions)
end

local last = redis.pcall('HINCRBY', KEYS[9], 'seq', #finished)
if refused(last) then last = nil end
local all, by_kind, kinds, further = {}, {}, {}, {}
for n = 1, #finished do
  local i = finished[n]
  local seq = last and (last - #finished + n) or 0
  local whole = ARGV[i] .. (json and string.format('%d}', seq) or be8(seq))
  local kind = ARGV[i + 1]
  all[n] = whole
  if not by_kind[kind] then
    by_kind[kind] = {}
    kinds[#kinds + 1] = kind
  end
  by_kind[kind][#by_kind[kind] + 1] = whole
  for channel in string.gmatch(ARGV[i + 2], '%S+') do further[#further + 1] = {channel, whole} end
end
local whole = batch(all)
redis.pcall('XADD', KEYS[8], 'MINID', '~', string.format('%d', now - tonumber(ARGV[6])), '*', ARGV[8], whole)
redis.pcall(ARGV[4], ARGV[5], whole)
for k = 1, #kinds do redis.pcall(ARGV[4], kinds[k], batch(by_kind[kinds[k]])) end
for f = 1, #further do redis.pcall(ARGV[4], further[f][1], batch({further[f][2]})) end
return table.concat(verdicts)
