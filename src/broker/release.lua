-- Hands deliveries back: they go to the consumer that never beats, where anyone
-- may claim them at once. Their delivery count stays as it is.
-- KEYS    1 high  2 normal  3 low (streams)
-- ARGV    1 group  2 consumer  3 the consumer that never beats  then per delivery: lane, entry id
-- Returns how many were handed back
local released = 0
for i = 4, #ARGV, 2 do
  local stream = KEYS[tonumber(ARGV[i])]
  local pending = redis.pcall('XPENDING', stream, ARGV[1], ARGV[i + 1], ARGV[i + 1], 1)
  -- The owner is read from the reply: a filter by consumer is not to be relied on.
  if not pending.err and pending[1] and pending[1][2] == ARGV[2] then
    redis.call('XCLAIM', stream, ARGV[1], ARGV[3], 0, ARGV[i + 1], 'JUSTID')
    released = released + 1
  end
end
return released
