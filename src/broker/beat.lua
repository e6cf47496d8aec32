-- A consumer's sign of life, by the server's clock. While memory is full hearts cannot be recorded: then the
-- partition is not calm, and from a lease after it became calm again on hearts count again.
-- KEYS    1 live (zset)  2 control (hash)
-- ARGV    1 consumer
-- Returns the server's time in ms
local t = redis.call('TIME')
local now = string.format('%d', tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000))
local beat = redis.pcall('ZADD', KEYS[1], now, ARGV[1])
if type(beat) == 'table' and beat.err then
  if not string.find(string.lower(beat.err), 'memory') then return beat end
  redis.call('HDEL', KEYS[2], 'calm')
else
  redis.pcall('HSETNX', KEYS[2], 'calm', now)
end
return now
