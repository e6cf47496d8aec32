-- Tells the fleet which partitions a queue has. Partitions are only ever added.
-- KEYS    1 queues (hash)
-- ARGV    1 queue  then the tags wanted, in order
-- Returns the tags the queue has, separated by spaces
local known, n_known = {}, 0
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local tags = before
for tag in string.gmatch(tags, '%S+') do
  known[tag] = true
  n_known = n_known + 1
end
for i = 2 + n_known, #ARGV do
  if not known[ARGV[i]] then
    tags = tags == '' and ARGV[i] or tags .. ' ' .. ARGV[i]
  end
end
-- Nothing is written when nothing is new: a worker can start while memory is full.
if tags ~= before then redis.call('HSET', KEYS[1], ARGV[1], tags) end
return tags
