-- List the gateways whose entry is alive, and drop the others.
--
-- KEYS[1]  hash: gateway name -> its description, a JSON object with "instance" and "address"
-- KEYS[2]  sorted set: gateway name, scored by the time its entry ends, in milliseconds of this server's clock
--
-- Returns name, description, name, description, ...

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[1], name)
end
return redis.call('HGETALL', KEYS[1])
