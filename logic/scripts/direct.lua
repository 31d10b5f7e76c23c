-- Publish an envelope that belongs to no room, once per idempotency key.
--
-- KEYS[1]  string: what an idempotency key stands for; a push without one names any key of the channel's slot, which
--          is not touched: a cluster has to know where to run this
-- ARGV[1]  'PUBLISH', 'SPUBLISH', or '' to publish nothing
-- ARGV[2]  channel
-- ARGV[3]  the envelope
-- ARGV[4]  publishing instance    ARGV[5]  its counter for this push
-- ARGV[6]  fingerprint of the push    ARGV[7]  life of the idempotency key in milliseconds; both left out without one
--
-- Returns {outcome, instance, counter, receivers} with outcome
--   0  published;  1  published before under this idempotency key, all values are of that time;
--   2  conflict: the idempotency key stands for another push, nothing was done.
--
-- The instance has 63 bits, more than a number here keeps exact, so it stays text from end to end.

if ARGV[6] then
  local record = redis.call('GET', KEYS[1])
  if record then
    local instance, counter, receivers, fingerprint = string.match(record, '^(%d+) (%d+) (%d+) (.*)$')
    if fingerprint ~= ARGV[6] then
      return {2, '0', '0', 0}
    end
    return {1, instance, counter, tonumber(receivers)}
  end
end

local receivers = 0
if ARGV[1] ~= '' then
  receivers = redis.call(ARGV[1], ARGV[2], ARGV[3])
end
if ARGV[6] then
  redis.call('SET', KEYS[1], ARGV[4] .. ' ' .. ARGV[5] .. ' ' .. receivers .. ' ' .. ARGV[6], 'PX', ARGV[7])
end
return {0, ARGV[4], ARGV[5], receivers}
