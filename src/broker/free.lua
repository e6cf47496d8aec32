-- Frees the dedup key of a job that is over, unless another job has it by now.
-- KEYS    1 dedup key (string)
-- ARGV    1 job id
-- Returns 1 when it was freed, else 0
local held = redis.call('GET', KEYS[1])
if not held or string.match(held, '^%S+') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
