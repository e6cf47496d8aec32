-- Moves delayed jobs that are due into their streams, the earliest first.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)
-- ARGV    1 field of an entry  2 how many at most (1 to 128)
-- Returns {how many were moved, ms until the next is due or -1}
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%d', now), 'LIMIT', 0, ARGV[2])
for i = 1, #due do
  local job = redis.call('HGET', KEYS[5], due[i])
  if job then
    -- Added before it is removed: refused for want of memory, it stays where it is.
    redis.call('XADD', KEYS[tonumber(string.sub(job, 1, 1))], '*', ARGV[1], string.sub(job, 2))
  end
  redis.call('ZREM', KEYS[4], due[i])
  redis.call('HDEL', KEYS[5], due[i])
end
local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
if not first[2] then return {#due, -1} end
return {#due, math.max(0, math.floor(tonumber(first[2])) - now)}
