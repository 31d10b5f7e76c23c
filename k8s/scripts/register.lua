-- Enter a gateway into the registry, or keep its entry alive.
--
-- KEYS[1]  hash: gateway name -> its description, a JSON object with "instance" and "address"
-- KEYS[2]  sorted set: gateway name, scored by the time its entry ends, in milliseconds of this server's clock
-- ARGV[1]  name    ARGV[2]  description    ARGV[3]  time to live in milliseconds
--
-- Returns the description that stood under this name while its entry was alive, or the empty string.
--
-- Time is the server's own, so that no two machines have to agree on the time of day. Redis replicates the effects of
-- this script, not the script, so a replica does not ask its own clock.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local before = ''
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if ends and tonumber(ends) > now then
  before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
end

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
return before
