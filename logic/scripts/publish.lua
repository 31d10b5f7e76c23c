-- Give the messages of a push their sequences in a room, and publish them in the same step.
--
-- KEYS[1]  hash {epoch, seq}: the room's position
-- KEYS[2]  string: what an idempotency key stands for; left out when the push has none
-- ARGV[1]  'PUBLISH', 'SPUBLISH', or '' to publish nothing
-- ARGV[2]  channel of the room's partition
-- ARGV[3]  number of messages
-- ARGV[4]  the envelope up to its epoch
-- ARGV[5]  the envelope behind its first sequence
-- ARGV[6]  life of the room's position in milliseconds, counted from its last push
-- ARGV[7]  fingerprint of the push    ARGV[8]  life of the idempotency key in milliseconds; with KEYS[2] only
--
-- Returns {outcome, epoch, first sequence, receivers} with outcome
--   0  published;  1  published before under this idempotency key, all numbers are of that time;
--   2  conflict: the idempotency key stands for another push, nothing was done.
--
-- Numbers are doubles here: epoch (microseconds since 1970) and sequence stay exact up to 2^53.

if KEYS[2] then
  local record = redis.call('GET', KEYS[2])
  if record then
    local epoch, first, receivers, fingerprint = string.match(record, '^(%d+) (%d+) (%d+) (.*)$')
    if fingerprint ~= ARGV[7] then
      return {2, 0, 0, 0}
    end
    return {1, tonumber(epoch), tonumber(first), tonumber(receivers)}
  end
end

local count = tonumber(ARGV[3])
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch'))
if not epoch then
  local time = redis.call('TIME')
  epoch = time[1] * 1000000 + time[2]
  redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch))
end
local first = redis.call('HINCRBY', KEYS[1], 'seq', count) - count + 1
redis.call('PEXPIRE', KEYS[1], ARGV[6])

local receivers = 0
if ARGV[1] ~= '' then
  local envelope = ARGV[4] .. struct.pack('>I8', epoch) .. struct.pack('>I8', first) .. ARGV[5]
  receivers = redis.call(ARGV[1], ARGV[2], envelope)
end
if KEYS[2] then
  local record = string.format('%.0f %.0f %d %s', epoch, first, receivers, ARGV[7])
  redis.call('SET', KEYS[2], record, 'PX', ARGV[8])
end
return {0, epoch, first, receivers}
