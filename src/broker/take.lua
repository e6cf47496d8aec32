-- Hands ready jobs to a consumer: high before normal before low, yet never all of them to one lane
-- while another waits, so that a flood of urgent jobs cannot stop the rest.
-- KEYS    1 high  2 normal  3 low (streams)  4 control (hash)
-- ARGV    1 group  2 consumer  3 how many at most (1 to 128)
-- Returns {{lane, entry id, {field, value, …}}, …}, or `paused`: then nothing is handed out
if redis.call('HGET', KEYS[4], 'paused') then return 'paused' end
local taken = {}
local function read(lane, count)
  if count < 1 then return 0 end
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count, 'STREAMS', KEYS[lane], '>')
  if not reply or not reply[1] then return 0 end
  local entries = reply[1][2]
  for i = 1, #entries do
    taken[#taken + 1] = {lane, entries[i][1], entries[i][2]}
  end
  return #entries
end
local limit = tonumber(ARGV[3])
-- An eighth is kept for normal and low, a sixteenth for low; below eight jobs a call, order is strict.
local left = limit - read(1, limit - math.floor(limit / 8))
left = left - read(2, left - math.floor(limit / 16))
left = left - read(3, left)
if left > 0 and left < limit then left = left - read(1, left) end
if left > 0 and left < limit then read(2, left) end
return taken
