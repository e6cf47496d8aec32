-- Lists what the server believes a consumer holds and has held for a while: deliveries whose reply was
-- lost on the way are among them.
-- KEYS    1 high  2 normal  3 low (streams)
-- ARGV    1 group  2 consumer  3 held for at least this many ms  then per lane: where to begin (an entry id or -)
-- Returns {{lane, entry id, held for so many ms}, …}, at most 128 a lane
local held = {}
for lane = 1, 3 do
  local from = ARGV[3 + lane]
  if from ~= '' then
    local pending = redis.call('XPENDING', KEYS[lane], ARGV[1], 'IDLE', ARGV[3], from, '+', 128, ARGV[2])
    for i = 1, #pending do
      if pending[i][2] == ARGV[2] then held[#held + 1] = {lane, pending[i][1], pending[i][3]} end
    end
  end
end
return held
