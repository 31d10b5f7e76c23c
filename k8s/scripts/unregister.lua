-- Take a gateway out of the registry, unless its name has passed to another instance.
--
-- KEYS[1]  hash: gateway name -> its description, a JSON object with "instance" and "address"
-- KEYS[2]  sorted set: gateway name, scored by the time its entry ends
-- ARGV[1]  name    ARGV[2]  instance
--
-- Returns 1 when the entry was removed, 0 when there is none or it is another instance's.

local description = redis.call('HGET', KEYS[1], ARGV[1])
if not description or cjson.decode(description).instance ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
