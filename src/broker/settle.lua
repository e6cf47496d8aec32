-- Settles deliveries whose results are committed, for those that the consumer still owns: a retry or a
-- dead letter is added first (refused for want of memory: the delivery stays pending, nothing is lost),
-- then all are acknowledged and deleted and the dedup keys that are still theirs freed, then completions are kept for
-- replay and published.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)  6 crashes (hash)
--         7 dead (stream)  8 done (stream)  9 control (hash)
--         then the dedup keys (strings) of those deliveries that have one and end now
-- ARGV    1 group  2 consumer  3 format of completions, m or j  4 PUBLISH or SPUBLISH  5 channel of the queue
--         6 how long completions are kept, ms  7 field of a dead letter  8 field of a batch of completions
--         9 which deliveries these dedup keys belong to: their numbers, from 1, each with a space after it
--         10 channel of words between workers  11 the word that a job is due before all others that wait
--         then per delivery, sorted by lane and entry id: lane, entry id, verb (done, later or dead), job id,
--         number (later: ms from now; else how often its worker died), bytes (later: lane digit and envelope; dead: the letter),
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

-- Asked once a lane, for the deliveries come sorted by lane and entry id. The owner is read from the reply: a filter
-- by consumer is not to be relied on.
local mine, cut = {{}, {}, {}}, {}
local function ask(lane, first, last, n)
  local pending = redis.pcall('XPENDING', KEYS[lane], group, first, last, 4 * n)
  if refused(pending) then return end
  for i = 1, #pending do
    if pending[i][2] == consumer then mine[lane][pending[i][1]] = true end
  end
  cut[lane] = #pending == 4 * n
end

local head = 12 -- where the deliveries begin
local first = head
for i = head, #ARGV, 9 do
  if ARGV[i + 9] ~= ARGV[i] then
    ask(tonumber(ARGV[i]), ARGV[first + 1], ARGV[i + 1], math.floor((i - first) / 9) + 1)
    first = i + 9
  end
end

-- Where others hold so much in between that the answer was cut short, one that was not seen is asked for alone.
local function owned(lane, entry)
  if mine[lane][entry] or not cut[lane] then return mine[lane][entry] end
  local pending = redis.pcall('XPENDING', KEYS[lane], group, entry, entry, 1)
  return not refused(pending) and pending[1] and pending[1][2] == consumer
end

-- When the first of the waiting jobs is due: before this call, and among those that it adds. Promoters sleep until then.
local first_due, new_due
local function waits(due)
  if not first_due then
    local waiting = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
    first_due = waiting[2] and tonumber(waiting[2]) or math.huge
  end
  if not new_due or due < new_due then new_due = due end
end

local function add(verb, id, number, bytes)
  if verb == 'later' then
    local due = now + tonumber(number)
    waits(due)
    if refused(redis.pcall('ZADD', KEYS[4], string.format('%d', due), id)) then return false end
    if not refused(redis.pcall('HSET', KEYS[5], id, bytes)) then return true end
    redis.call('ZREM', KEYS[4], id)
    return false
  elseif verb == 'dead' then
    return not refused(redis.pcall('XADD', KEYS[7], '*', ARGV[7], bytes))
  end
  return true
end

for i = head, #ARGV, 9 do
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
if new_due and new_due < first_due then redis.pcall(ARGV[4], ARGV[10], ARGV[11]) end
if #crashed > 0 then redis.call('HDEL', KEYS[6], unpack(crashed)) end
local key = 9
for number in string.gmatch(ARGV[9], '%d+') do
  key = key + 1
  local held = verdicts[tonumber(number)] == '1' and redis.call('GET', KEYS[key])
  if held and string.match(held, '^%S+') == ARGV[head + 9 * tonumber(number) - 6] then redis.call('DEL', KEYS[key]) end
end
if #finished == 0 then return table.concat(verdicts) end

-- Eight bytes, the highest first. Strings are what costs here: every one that is made is hashed and kept.
local function be8(number)
  local low, high = number % 4294967296, math.floor(number / 4294967296)
  local floor = math.floor
  return string.char(floor(high / 16777216) % 256, floor(high / 65536) % 256, floor(high / 256) % 256, high % 256,
    floor(low / 16777216), floor(low / 65536) % 256, floor(low / 256) % 256, low % 256)
end

-- Completions in two parts each, open and number, to one message; the list is used up.
local function batch(parts)
  if json then
    for i = 3, #parts, 2 do parts[i] = ',' .. parts[i] end
    return '[' .. table.concat(parts) .. ']'
  end
  local n = math.floor(#parts / 2)
  local head = n < 16 and string.char(144 + n) or string.char(220, math.floor(n / 256), n % 256)
  return head .. table.concat(parts)
end

local last = redis.pcall('HINCRBY', KEYS[9], 'seq', #finished)
if refused(last) then last = nil end
local all, by_kind, kinds, further = {}, {}, {}, {}
for n = 1, #finished do
  local i = finished[n]
  local seq = last and (last - #finished + n) or 0
  all[2 * n - 1], all[2 * n] = ARGV[i], json and string.format('%d}', seq) or be8(seq)
  if not by_kind[ARGV[i + 1]] then
    by_kind[ARGV[i + 1]] = {}
    kinds[#kinds + 1] = ARGV[i + 1]
  end
  if ARGV[i + 2] ~= '' then
    for channel in string.gmatch(ARGV[i + 2], '%S+') do further[#further + 1] = {channel, n} end
  end
end
if #kinds > 1 then
  for n = 1, #finished do
    local some = by_kind[ARGV[finished[n] + 1]]
    some[#some + 1], some[#some + 2] = all[2 * n - 1], all[2 * n]
  end
end
for f = 1, #further do
  local n = further[f][2]
  further[f][2] = batch({all[2 * n - 1], all[2 * n]})
end
local whole = batch(all)
redis.pcall('XADD', KEYS[8], 'MINID', '~', string.format('%d', now - tonumber(ARGV[6])), '*', ARGV[8], whole)
redis.pcall(ARGV[4], ARGV[5], whole)
for k = 1, #kinds do redis.pcall(ARGV[4], kinds[k], #kinds == 1 and whole or batch(by_kind[kinds[k]])) end
for f = 1, #further do redis.pcall(ARGV[4], further[f][1], further[f][2]) end
return table.concat(verdicts)
