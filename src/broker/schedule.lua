-- Accepts delayed jobs. The same job sent twice waits once.
-- KEYS    1 later (zset)  2 later:jobs (hash)
-- ARGV    1 PUBLISH or SPUBLISH  2 channel of words between workers  3 the word that a job is due before all others
--         that wait; then per job: job id, `at` or `in`, ms (of the server's clock, or from now), lane digit and envelope
-- Returns how many were accepted; refused for want of memory, an error, and the job at hand leaves nothing behind
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local waiting = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local first_due, new_due = waiting[2] and tonumber(waiting[2]) or math.huge, math.huge
for i = 4, #ARGV, 4 do
  local due = tonumber(ARGV[i + 2])
  if ARGV[i + 1] == 'in' then due = now + due end
  redis.call('ZADD', KEYS[1], string.format('%d', due), ARGV[i])
  local kept = redis.pcall('HSET', KEYS[2], ARGV[i], ARGV[i + 3])
  if type(kept) == 'table' and kept.err then
    redis.call('ZREM', KEYS[1], ARGV[i])
    return kept
  end
  if due < new_due then new_due = due end
end
if new_due < first_due then redis.pcall(ARGV[1], ARGV[2], ARGV[3]) end
return math.floor((#ARGV - 3) / 4)
