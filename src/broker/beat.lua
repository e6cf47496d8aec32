-- A consumer's sign of life, by the server's clock.
-- KEYS    1 live (zset)
-- ARGV    1 consumer
-- Returns the server's time in ms
local t = redis.call('TIME')
local now = string.format('%d', tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000))
redis.call('ZADD', KEYS[1], now, ARGV[1])
return now
