-- Whether the server locks by hash tag. Where it does, a script may read a key that its call did not declare, as long as
-- a declared key has the same tag; a Dragonfly that does not lock by tag refuses that. Sent to Dragonfly alone; this is
-- the only script that reads such a key. Both keys are only read.
-- KEYS    1 a key
-- ARGV    1 another key of the same tag, not declared on purpose
-- Returns 1, or the error `undeclared key`
redis.call('GET', KEYS[1])
redis.call('GET', ARGV[1])
return 1
