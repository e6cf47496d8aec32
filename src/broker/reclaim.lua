-- Claims the pending entries of consumers whose heart has stopped, and deletes such consumers once they
-- hold nothing. Never touches the entries of a consumer that beats, nor, while memory was too full for hearts to be
-- recorded less than a lease ago, those of any but the consumer that never beats. While the queue is paused nothing is
-- claimed: what dead workers held waits with the rest.
-- KEYS    1 high  2 normal  3 low (streams)  4 live (zset)  5 crashes (hash)  6 control (hash)
-- ARGV    1 group  2 consumer that claims  3 the consumer that never beats  4 lease in ms  5 how many at most (1 to 128)
-- Returns {{lane, entry id, {field, value, …}, "<deaths in company> <deaths alone>"}, …}: how often a worker died that held it
--         beside others, and how often one died that ran it alone
local unpack = table.unpack or unpack
if redis.call('HGET', KEYS[6], 'paused') then return {} end
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local claimed, left = {}, tonumber(ARGV[5])

local calm = redis.call('HGET', KEYS[6], 'calm')
local hearts_count = calm and tonumber(calm) <= now - tonumber(ARGV[4])

local function beats(consumer)
  if consumer == ARGV[3] then return false end
  if not hearts_count then return true end
  local last = redis.call('ZSCORE', KEYS[4], consumer)
  return last and tonumber(last) >= now - tonumber(ARGV[4])
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

for lane = 1, 3 do
  local consumers = redis.call('XINFO', 'CONSUMERS', KEYS[lane], ARGV[1])
  for i = 1, #consumers do
    local fields = {}
    for j = 1, #consumers[i], 2 do fields[consumers[i][j]] = consumers[i][j + 1] end
    local consumer, n_pending = fields['name'], tonumber(fields['pending'])
    if consumer ~= ARGV[2] and left > 0 and not beats(consumer) then
      if n_pending > 0 then n_pending = n_pending - claim(lane, consumer) end
      if n_pending == 0 and consumer ~= ARGV[3] then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[lane], ARGV[1], consumer)
      end
    end
  end
end
-- Hearts that stopped long ago are forgotten; their consumers, if any, are still known to the streams.
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%d', now - 100 * tonumber(ARGV[4])))
return claimed
