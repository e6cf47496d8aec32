-- Adds ready jobs to one stream where nobody has to judge them, as a plain XADD each would.
-- KEYS    1 a lane (stream)
-- ARGV    1 field of an entry, then the envelopes, at most 128 of them
-- Returns how many were added: all of them. What the server says to the first that it will not take is the call's error;
--         those before it are there then
for n = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[n])
end
return #ARGV - 1
