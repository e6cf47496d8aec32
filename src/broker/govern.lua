-- Tells a partition what an operator decided about its queue.
-- KEYS    1 control (hash)
-- ARGV    pairs of field and value; an empty value takes the field away
-- Returns how many fields changed; nothing is written when nothing changed, for memory may be full
local changed = 0
for i = 1, #ARGV, 2 do
  local before = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if before ~= ARGV[i + 1] then
    if ARGV[i + 1] == '' then
      redis.call('HDEL', KEYS[1], ARGV[i])
    else
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    end
    changed = changed + 1
  end
end
return changed
