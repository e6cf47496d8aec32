-- Puts dead letters back into their streams as fresh jobs.
-- KEYS    1 high  2 normal  3 low (streams)  4 dead (stream)
-- ARGV    1 field of an entry  then per letter: entry id of the letter, lane, envelope
-- Returns how many were put back; a letter that is gone already is passed over
local redriven = 0
for i = 2, #ARGV, 3 do
  local found = redis.call('XRANGE', KEYS[4], ARGV[i], ARGV[i])
  if found[1] then
    redis.call('XADD', KEYS[tonumber(ARGV[i + 1])], '*', ARGV[1], ARGV[i + 2])
    redis.call('XDEL', KEYS[4], ARGV[i])
    redriven = redriven + 1
  end
end
return redriven
