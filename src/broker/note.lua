-- Notes for a suspected entry that the consumer still owns how often workers died with it, and whether it runs alone now.
-- What is noted is the whole, not a step: told twice it is the same as once.
-- KEYS    1 stream of the entry  2 crashes (hash)
-- ARGV    1 group  2 consumer  3 entry id  4 field of the entry  5 what is noted
-- Returns 1, or 0 when the entry is somebody else's or gone: then nothing is noted
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
-- The owner is read from the reply: a filter by consumer is not to be relied on.
if not pending.err and pending[1] and pending[1][2] == ARGV[2] then
  redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
  return 1
end
return 0
