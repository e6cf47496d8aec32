-- Claims the pending entries of consumers whose lease has expired, and deletes such consumers once they hold nothing.
-- Never touches the entries of a consumer with a fresh heartbeat, nor, while memory was too full to record heartbeats less
-- than a lease ago, those of any but the released consumer. While the queue is paused nothing is claimed: what dead workers
-- held waits with the rest.
-- XINFO stops a Dragonfly shard for ever when a script calls it. So the consumers that hold something come from the summary
-- of XPENDING; those that hold nothing come from `live`, and from the caller, which asks with XINFO outside any script.
-- KEYS    1 high  2 normal  3 low (streams)  4 live (zset)  5 crashes (hash)  6 control (hash)
-- ARGV    1 group  2 consumer that claims  3 the released consumer  4 lease in ms  5 how many at most (1 to 128)
--         6 how often the caller is asked to list the consumers, ms  then names of consumers that may hold nothing (at most 128)
-- Returns {claimed, list}. Claimed: {{lane, entry id, {field, value, …}, "<deaths in company> <deaths alone>"}, …}: how often
--         a worker died that held it beside others, and how often one died that ran it alone. List: 1 where the caller is to
--         list the consumers now and to name them in its next call, else 0
local unpack = table.unpack or unpack
if redis.call('HGET', KEYS[6], 'paused') then return {{}, 0} end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local lease, left, claimed = tonumber(ARGV[4]), tonumber(ARGV[5]), {}

local calm = redis.call('HGET', KEYS[6], 'calm')
local heartbeats_count = calm and tonumber(calm) <= now - lease

local function is_live(consumer)
  if consumer == ARGV[3] then return false end
  if not heartbeats_count then return true end
  local last = redis.call('ZSCORE', KEYS[4], consumer)
  return last and tonumber(last) >= now - lease
end

-- The field counts a death in company as 1000 and a run alone that has not come to its end as 1. A death in company that
-- memory is too full to note is said all the same, and counted again the next time.
local function deaths(field, consumer)
  local noted = tonumber(redis.call('HGET', KEYS[5], field) or 0)
  local company, alone = math.floor(noted / 1000), noted % 1000
  if consumer ~= ARGV[3] and alone == 0 then
    company = company + 1
    redis.pcall('HINCRBY', KEYS[5], field, 1000)
  end
  return string.format('%d %d', company, alone)
end

-- The youngest first: what kills its worker as soon as it begins is among them.
local function claim(lane, consumer)
  local pending = redis.call('XPENDING', KEYS[lane], ARGV[1], '-', '+', 128, consumer)
  local ids = {}
  for i = #pending, 1, -1 do
    if pending[i][2] == consumer and #ids < left then ids[#ids + 1] = pending[i][1] end
  end
  if #ids == 0 then return 0 end
  local entries = redis.call('XCLAIM', KEYS[lane], ARGV[1], ARGV[2], 0, unpack(ids))
  for i = 1, #entries do
    if entries[i] and entries[i][2] then
      claimed[#claimed + 1] = {lane, entries[i][1], entries[i][2], deaths(lane .. ':' .. entries[i][1], consumer)}
    end
  end
  left = left - #ids
  return #ids
end

-- While memory is full, Dragonfly refuses every XGROUP, also this one that frees memory: then it is tried again later.
local function delete(lane, consumer)
  local deleted = redis.pcall('XGROUP', 'DELCONSUMER', KEYS[lane], ARGV[1], consumer)
  return not (type(deleted) == 'table' and deleted.err)
end

-- The lanes in which a consumer still holds something.
local holds = {{}, {}, {}}
for lane = 1, 3 do
  local consumers = redis.call('XPENDING', KEYS[lane], ARGV[1])[4] or {}
  for i = 1, #consumers do
    local consumer, n_pending = consumers[i][1], tonumber(consumers[i][2])
    local is_expired = consumer ~= ARGV[2] and not is_live(consumer)
    if is_expired and left > 0 then n_pending = n_pending - claim(lane, consumer) end
    if n_pending > 0 then holds[lane][consumer] = true end
    if n_pending == 0 and consumer ~= ARGV[3] then delete(lane, consumer) end
  end
end

-- To delete a consumer that a lane does not have changes nothing there.
local function delete_idle(consumer)
  if consumer == ARGV[2] or consumer == ARGV[3] or is_live(consumer) then return end
  local is_gone = true
  for lane = 1, 3 do
    is_gone = not holds[lane][consumer] and delete(lane, consumer) and is_gone
  end
  if is_gone then redis.call('ZREM', KEYS[4], consumer) end
end

for i = 7, #ARGV do delete_idle(ARGV[i]) end
local oldest = redis.call('ZRANGE', KEYS[4], 0, 31, 'WITHSCORES')
for i = 1, #oldest, 2 do
  if tonumber(oldest[i + 1]) < now - lease then delete_idle(oldest[i]) end
end

local listed = tonumber(redis.call('HGET', KEYS[6], 'listed') or 0)
local list = 0
if listed <= now - tonumber(ARGV[6]) then
  -- A memory too full to note the time is no time to look for what is merely in the way.
  local noted = redis.pcall('HSET', KEYS[6], 'listed', string.format('%d', now))
  if not (type(noted) == 'table' and noted.err) then list = 1 end
end
return {claimed, list}
