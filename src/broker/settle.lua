-- Settles deliveries whose results are committed, for those that the consumer still owns: a retry or a
-- dead letter is added first (refused for want of memory: the delivery stays pending, nothing is lost),
-- then all are acknowledged and deleted and the dedup keys that are still theirs freed, then completions are kept for
-- replay and published.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)  6 crashes (hash)
--         7 dead (stream)  8 done (stream)  9 control (hash)
--         then the dedup keys (strings) of those deliveries that have one and end now
-- ARGV    1 group  2 consumer  3 format of completions, m or j  4 PUBLISH or SPUBLISH  5 channel of the queue
--         6 how long completions are kept, ms  7 field of a dead letter  8 field of a batch of completions
--         9 which deliveries these dedup keys belong to: their numbers among those that come one by one, from 1, each with a
--           space after it
--         10 channel of words between workers  11 the word that a job is due before all others that wait
--         12 to 20 per lane: the first and the last entry id among its deliveries, and how many those are
--         then the deliveries, either many at once that are simply done: `run`, lane, channel of the kind, how many, their
--         entry ids, their open completions; or one: verb (done, later or dead), lane, entry id, job id, number (later: ms
--         from now; else how often its worker died), bytes (later: lane digit and envelope; dead: the letter),
--         open completion or nothing, channel of the kind, further channels separated by spaces
-- Returns one digit a delivery: 1 settled, 0 not owned, 2 refused for want of memory
local unpack = table.unpack or unpack
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local group, consumer, json = ARGV[1], ARGV[2], ARGV[3] == 'j'
-- Counted by hand: to ask a long list for its length costs as much as to add to it.
local verdicts, n_verdicts, acked, n_acked, crashed = {}, 0, {{}, {}, {}}, {0, 0, 0}, {}

local function refused(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- Asked once a lane. The owner is read from the reply: a filter by consumer is not to be relied on.
local mine, cut = {{}, {}, {}}, {}
for lane = 1, 3 do
  local i = 9 + 3 * lane
  local limit = 4 * tonumber(ARGV[i + 2])
  local pending = limit > 0 and redis.pcall('XPENDING', KEYS[lane], group, ARGV[i], ARGV[i + 1], limit)
  if pending and not refused(pending) then
    local of_lane = mine[lane]
    for p = 1, #pending do
      local entry = pending[p]
      if entry[2] == consumer then of_lane[entry[1]] = true end
    end
    cut[lane] = #pending == limit
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

-- The open completions of those that ended; stretches of them that are of one kind, its channel with the first and the
-- last; and further channels, each with the one that goes there.
local opens, n_opens, stretches, further = {}, 0, {}, {}

local function say(verdict)
  n_verdicts = n_verdicts + 1
  verdicts[n_verdicts] = verdict
end

local function acknowledge(lane, entry)
  n_acked[lane] = n_acked[lane] + 1
  acked[lane][n_acked[lane]] = entry
end

-- Those that come one by one: their jobs' ids, and whether they are settled.
local singles = {}
local function one(i)
  local verb, lane, entry, number, open = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 4], ARGV[i + 6]
  local verdict = '1'
  if not owned(lane, entry) then
    verdict = '0'
  elseif not add(verb, ARGV[i + 3], number, ARGV[i + 5]) then
    verdict = '2'
  else
    acknowledge(lane, entry)
    if open ~= '' then
      n_opens = n_opens + 1
      opens[n_opens] = open
      stretches[#stretches + 1] = {ARGV[i + 7], n_opens, n_opens}
      for channel in string.gmatch(ARGV[i + 8], '%S+') do further[#further + 1] = {channel, n_opens} end
    end
    if verb == 'later' or number ~= '0' then crashed[#crashed + 1] = lane .. ':' .. entry end
  end
  say(verdict)
  singles[#singles + 1] = {job = ARGV[i + 3], is_settled = verdict == '1'}
end

-- Where the next begins, and of a run: its lane, channel and number, what is ours there, its stretch, and where its entry
-- ids begin and are over.
local next_at, lane, channel, n, ours, stretch, ids, ids_over = 21, 1, '', 0, mine[1], nil, 0, 0
for i = 21, #ARGV do
  if i < next_at then
    if i >= ids and i < ids_over then
      local entry = ARGV[i]
      if ours[entry] or owned(lane, entry) then
        say('1')
        acknowledge(lane, entry)
        n_opens = n_opens + 1
        opens[n_opens] = ARGV[i + n]
        if not stretch then
          stretch = {channel, n_opens, n_opens}
          stretches[#stretches + 1] = stretch
        end
        stretch[3] = n_opens
      else
        say('0')
      end
    end
  elseif ARGV[i] == 'run' then
    lane, channel, n = tonumber(ARGV[i + 1]), ARGV[i + 2], tonumber(ARGV[i + 3])
    ours, stretch, ids, ids_over, next_at = mine[lane], nil, i + 4, i + 4 + n, i + 4 + 2 * n
  else
    one(i)
    next_at = i + 9
  end
end

for lane = 1, 3 do
  if n_acked[lane] > 0 then
    redis.call('XACK', KEYS[lane], group, unpack(acked[lane]))
    redis.call('XDEL', KEYS[lane], unpack(acked[lane]))
  end
end
if new_due and new_due < first_due then redis.pcall(ARGV[4], ARGV[10], ARGV[11]) end
if #crashed > 0 then redis.call('HDEL', KEYS[6], unpack(crashed)) end
local key = 9
for number in string.gmatch(ARGV[9], '%d+') do
  key = key + 1
  local single = singles[tonumber(number)]
  local held = single.is_settled and redis.call('GET', KEYS[key])
  if held and string.match(held, '^%S+') == single.job then redis.call('DEL', KEYS[key]) end
end
if n_opens == 0 then return table.concat(verdicts) end

local last = redis.pcall('HINCRBY', KEYS[9], 'seq', n_opens)
if refused(last) then last = nil end

-- A completion in three parts: open, and its number as text and a brace, or as eight bytes, the highest first. Strings are
-- what costs here: all but the last byte are made once for 256 numbers.
local all = {}
local high, head
for n = 1, #opens do
  local number = last and last - n_opens + n or 0
  if json then
    all[3 * n - 2], all[3 * n - 1], all[3 * n] = opens[n], string.format('%d', number), '}'
  else
    if number - number % 256 ~= high then
      high = number - number % 256
      local floor = math.floor
      head = string.char(floor(high / 72057594037927936) % 256, floor(high / 281474976710656) % 256,
        floor(high / 1099511627776) % 256, floor(high / 4294967296) % 256, floor(high / 16777216) % 256,
        floor(high / 65536) % 256, floor(high / 256) % 256)
    end
    all[3 * n - 2], all[3 * n - 1], all[3 * n] = opens[n], head, string.char(number % 256)
  end
end

-- Completions, three parts each, to one message; the list is used up.
local function batch(parts)
  local n = math.floor(#parts / 3)
  if json then
    for i = 4, #parts, 3 do parts[i] = ',' .. parts[i] end
    return '[' .. table.concat(parts) .. ']'
  end
  local marker = n < 16 and string.char(144 + n) or string.char(220, math.floor(n / 256), n % 256)
  return marker .. table.concat(parts)
end

local kinds, by_kind = {}, {}
for s = 1, #stretches do
  local channel = stretches[s][1]
  if not by_kind[channel] then
    by_kind[channel] = {}
    kinds[#kinds + 1] = channel
  end
end
if #kinds > 1 then
  local s = 1
  for n = 1, #opens do
    if n > stretches[s][3] then s = s + 1 end
    local some = by_kind[stretches[s][1]]
    some[#some + 1], some[#some + 2], some[#some + 3] = all[3 * n - 2], all[3 * n - 1], all[3 * n]
  end
end
for f = 1, #further do
  local n = further[f][2]
  further[f][2] = batch({all[3 * n - 2], all[3 * n - 1], all[3 * n]})
end
local whole = batch(all)
redis.pcall('XADD', KEYS[8], 'MINID', '~', string.format('%d', now - tonumber(ARGV[6])), '*', ARGV[8], whole)
redis.pcall(ARGV[4], ARGV[5], whole)
for k = 1, #kinds do redis.pcall(ARGV[4], kinds[k], #kinds == 1 and whole or batch(by_kind[kinds[k]])) end
for f = 1, #further do redis.pcall(ARGV[4], further[f][1], further[f][2]) end
return table.concat(verdicts)
