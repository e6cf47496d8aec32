-- Makes one delayed job ready before it is due.
-- KEYS    1 high  2 normal  3 low (streams)  4 later (zset)  5 later:jobs (hash)
--         6 its dedup key (string), where it has one: it says there where it is from now on
-- ARGV    1 field of an entry  2 job id  3 lane digit and envelope as they were seen  4 envelope to run
-- Returns 1, or 0 when the job does not wait like that any more: then nothing is done
if redis.call('HGET', KEYS[5], ARGV[2]) ~= ARGV[3] then return 0 end
-- Added before it is removed: refused for want of memory, it stays where it is.
local lane = string.sub(ARGV[3], 1, 1)
local entry = redis.call('XADD', KEYS[tonumber(lane)], '*', ARGV[1], ARGV[4])
local held = KEYS[6] and redis.call('GET', KEYS[6])
if held and string.match(held, '^%S+') == ARGV[2] then
  redis.pcall('SET', KEYS[6], ARGV[2] .. ' ' .. lane .. ':' .. entry, 'XX', 'KEEPTTL')
end
redis.call('ZREM', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[5], ARGV[2])
return 1
