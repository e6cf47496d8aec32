-- Accepts jobs: ready or delayed ones, within the queue's budgets, each dedup key once. A job that is refused leaves
-- nothing behind. The same job sent again is the same job: delayed it waits once, with its dedup key it is there already.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)  6 control (hash)  7 done (stream)
--         then the dedup keys (strings) that the headers name, each of them once
-- ARGV    1 field of an entry  2 group  3 the consumer that never beats  4 PUBLISH or SPUBLISH
--         5 what channels of completions begin with  6 tag of the partition  7 field of a batch of completions
--         8 channel of words between workers  9 the word that a job is due before all others that wait
--         then the jobs, at most 128 of them, in runs that share a header: the header, then per job its envelope, preceded
--         by its id when it is delayed or has a dedup key. The header, each word after a space: the lane's digit, how many
--         jobs; for delayed jobs, and those with dedup keys: when (`+` ms from now, `@` ms of the server's clock); and with
--         dedup keys: the place in KEYS of the first job's key, whose neighbours are the others', the window in ms, the mode
--         (reject, existing, replace, debounce, throttle; or again: accepted before, added whatever the key says)
-- Returns {digits, ms, …}: a digit a job (1 accepted, 2 busy: no room, 3 busy: closed, 4 refused: the server's memory is
--         full, 5 refused: the key is taken, 6 the key is taken, its job stands for this one, 7 accepted in place of a job
--         that waited); in how many ms to ask again for what was busy; then for each 5, 6, 7 the other job's id, in order
local unpack = table.unpack or unpack
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local known = redis.call('HMGET', KEYS[6], 'closed', 'max_depth', 'max_bytes', 'bytes', 'rate', 'format')
local closed, max_depth, max_bytes = known[1], tonumber(known[2] or ''), tonumber(known[3] or '')
local depth, bytes, added_bytes, broken = 0, tonumber(known[4] or '0'), 0, nil
if max_depth then
  depth = redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[2]) + redis.call('XLEN', KEYS[3])
    + redis.call('ZCARD', KEYS[4])
end

local function failed(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- The digit of a job that the server would not take.
local function refused(reply)
  local text = string.lower(reply.err)
  if not string.find(text, 'memory', 1, true) and not string.find(text, 'oom', 1, true) then broken = reply end
  return '4'
end

-- The last job that fits may go over the limit of bytes: otherwise one that is larger than it could never come in.
local function no_room()
  return (max_depth and depth >= max_depth) or (max_bytes and bytes >= max_bytes)
end

local function grown(envelope)
  depth, bytes, added_bytes = depth + 1, bytes + #envelope, added_bytes + #envelope
end

-- When the first of the waiting jobs is due: before this call, and among those that it adds. Promoters sleep until then.
local first_due, new_due
local function waits(due)
  if not first_due then
    local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
    first_due = first[2] and tonumber(first[2]) or math.huge
  end
  if not new_due or due < new_due then new_due = due end
end

-- What the jobs of the present run share: their lane and its stream's place in KEYS, when they are due, for how long their
-- keys are taken, and what they ask for when one is.
local lane, stream, due, score, window, mode

-- Gives the job's place and whether it was not there before, or nothing and the error.
local function add(id, envelope)
  if not due then
    local entry = redis.pcall('XADD', KEYS[stream], '*', ARGV[1], envelope)
    if failed(entry) then return nil, entry end
    return entry, true
  end
  waits(due)
  local added = redis.pcall('ZADD', KEYS[4], score, id)
  if failed(added) then return nil, added end
  local kept = redis.pcall('HSET', KEYS[5], id, lane .. envelope)
  if not failed(kept) then return 'later', added == 1 end
  if added == 1 then redis.call('ZREM', KEYS[4], id) end
  return nil, kept
end

local function remove(id, place)
  if place == 'later' then
    redis.call('ZREM', KEYS[4], id)
    redis.call('HDEL', KEYS[5], id)
  else
    local lane, entry = string.match(place, '^(%d):(.+)$')
    redis.pcall('XACK', KEYS[tonumber(lane)], ARGV[2], entry)
    redis.call('XDEL', KEYS[tonumber(lane)], entry)
  end
end

-- Where a job waits, and its envelope; nothing when it runs, or is gone. One that was handed back unstarted waits.
local function waiting(id, place)
  if redis.call('ZSCORE', KEYS[4], id) then
    return 'later', string.sub(redis.call('HGET', KEYS[5], id) or ' ', 2)
  end
  local lane, entry = string.match(place, '^([123]):(.+)$')
  if not lane then return nil end
  local found = redis.call('XRANGE', KEYS[tonumber(lane)], entry, entry)
  if not found[1] then return nil end
  local held = redis.pcall('XPENDING', KEYS[tonumber(lane)], ARGV[2], entry, entry, 1)
  if failed(held) or not held[1] or held[1][2] == ARGV[3] then return place, found[1][2][2] end
  return nil
end

-- Tells whoever waits for a job that it was taken back: the same message as at a settlement, without a worker.
local function tell(id, bytes)
  if not bytes then return end
  local json = string.find(bytes, '^%s*{')
  local good, job = pcall(json and cjson.decode or cmsgpack.unpack, bytes)
  if not good or type(job) ~= 'table' or type(job.kind) ~= 'string' then return end
  local seq = redis.pcall('HINCRBY', KEYS[6], 'seq', 1)
  local queue = string.match(ARGV[6], '^[^~]+')
  local told = {
    id = id, kind = job.kind, queue = queue, status = 'cancelled', attempt = tonumber(job.attempt) or 0, worker = '',
    timings = {queued_ms = now, started_ms = 0, finished_ms = now}, partition = ARGV[6], seq = failed(seq) and 0 or seq,
    user_id = type(job.user_id) == 'string' and job.user_id or nil,
    traceparent = type(job.traceparent) == 'string' and job.traceparent or nil,
  }
  local message = known[6] == 'j' and cjson.encode({told}) or cmsgpack.pack({told})
  redis.pcall('XADD', KEYS[7], '*', ARGV[7], message)
  redis.pcall(ARGV[4], ARGV[5] .. queue, message)
  redis.pcall(ARGV[4], ARGV[5] .. 'kind:' .. job.kind, message)
  local wishes = type(job.notify) == 'table' and job.notify or {}
  for n = 1, #wishes do
    local wish = tostring(wishes[n])
    local channel = wish == 'job' and 'job:' .. id or wish == 'user' and told.user_id and 'user:' .. told.user_id
      or string.match(wish, '^reply:.*')
    if channel and not string.find(channel, '%s') then redis.pcall(ARGV[4], ARGV[5] .. channel, message) end
  end
end

-- Gives the digit and the other job's id. `held` is what the key says.
local function deduplicated(id, envelope, key, held)
  local owner, place
  if held then owner, place = string.match(held, '^(%S+) (%S+)$') end
  if owner == id and mode ~= 'again' then return '1' end
  if owner and mode == 'reject' then return '5', owner end
  if owner and (mode == 'existing' or mode == 'throttle') then return '6', owner end
  local old, old_envelope
  if owner and (mode == 'replace' or mode == 'debounce') then old, old_envelope = waiting(owner, place) end
  if not old and no_room() then return '2' end
  local where, new = add(id, envelope)
  if not where then return refused(new) end
  if mode ~= 'again' or not owner then
    local mine = due and id .. ' later' or id .. ' ' .. lane .. ':' .. where
    local set = redis.pcall('PSETEX', KEYS[key], window, mine)
    if failed(set) then
      if new then remove(id, due and where or lane .. ':' .. where) end
      return refused(set)
    end
  end
  grown(envelope)
  if not old then return '1' end
  remove(owner, old)
  depth = depth - 1
  tell(owner, old_envelope)
  return '7', owner
end

local function plain(id, envelope)
  if no_room() then return '2' end
  local where, err = add(id, envelope)
  if not where then return refused(err) end
  grown(envelope)
  return '1'
end

-- Reads a header: how many jobs follow, in steps of how many arguments, and the place of their first key.
local function begin(header)
  local digit, n, from, ms, place, lasts, asked = string.match(header, '^([123]) (%d+) ?([+@]?)(%d*) ?(%d*) ?(%d*) ?(%l*)$')
  if not digit then return nil end
  lane, stream, mode = digit, tonumber(digit), asked
  due = tonumber(ms)
  if from == '+' then due = due > 0 and now + due or nil end
  if place ~= '' then
    local open = tonumber(lasts)
    if mode == 'debounce' then
      due = math.max(due or 0, now + open)
      open = due - now
    end
    window = string.format('%d', open)
  end
  score = due and string.format('%d', due)
  return tonumber(n), from == '' and 1 or 2, tonumber(place)
end

local digits, others, n_busy = {}, {}, 0
-- Of the present run: how many jobs are left, how many arguments each has, the next one's key and what the keys say.
local left, step, key, held, first, id = 0, 1, nil, nil, nil, nil
for n = 10, #ARGV do
  if left == 0 then
    left, step, key = begin(ARGV[n])
    if not left or left < 1 or n + left * step > #ARGV then
      return {err = 'ERR enqueue: a header that is none, or too few jobs after it: ' .. ARGV[n]}
    end
    held, first = nil, key
    if key and not closed then held = redis.call('MGET', KEYS[key], unpack(KEYS, key + 1, key + left - 1)) end
  elseif step == 2 and not id then
    id = ARGV[n]
  else
    local digit, other = '3', nil
    if held then
      digit, other = deduplicated(id, ARGV[n], key, held[key - first + 1])
      key = key + 1
    elseif not closed then
      digit = plain(id, ARGV[n])
    end
    if broken then return broken end
    digits[#digits + 1] = digit
    others[#others + 1] = other
    if digit == '2' then n_busy = n_busy + 1 end
    left, id = left - 1, nil
  end
end
if new_due and new_due < first_due then redis.pcall(ARGV[4], ARGV[8], ARGV[9]) end
if max_bytes and added_bytes > 0 then redis.pcall('HINCRBY', KEYS[6], 'bytes', added_bytes) end

-- Until as many have left as are too many, at the rate at which jobs left lately (a thousandth of a job per second).
local wait = closed and 30000 or 0
if n_busy > 0 then
  local excess, rate = n_busy, tonumber(known[5] or '0')
  if max_depth and depth > max_depth then excess = excess + depth - max_depth end
  wait = rate > 0 and math.floor(excess * 1000000 / rate) or 1000
  wait = math.max(100, math.min(30000, wait))
end
local reply = {table.concat(digits), wait}
for n = 1, #others do reply[n + 2] = others[n] end
return reply
