-- Takes over what lost workers hold: those named, or those whose lease has lapsed. They are out of the queue, and an heir
-- holds their tasks until it has settled each. If it does not get to that, its lease lapses, and another takes over.
-- `heir` is a new worker id; `lease` its lease in ms, to which a lease is cut as well that is longer than `longest_lease`, the
-- longest that a worker can have; `longest_silence` for how long nobody may have looked for lapsed leases, in ms, before they
-- are given the time `given` (see grace.lua). REST: ids of workers that are gone, or none for those whose lease has lapsed
-- returns {'ok', now ms, how many workers were lost, how many tasks they held}
include 'sleepers'
include 'grace'

local now = now_ms()
local lost = {}
if #ARGV >= REST then
  for i = REST, #ARGV do
    if redis.call('ZSCORE', WORKERS, ARGV[i]) then lost[#lost + 1] = ARGV[i] end
  end
else
  -- A lease that reaches further ahead than any could is from before the clock went back. A worker that lives extends it
  -- by its next beat; one that died must not hold its tasks for as long as the clock needs to catch up.
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. text(now + longest_lease), '+inf')) do
    redis.call('ZADD', WORKERS, text(now + lease), worker)
  end
  give_grace(now, tonumber(longest_silence), tonumber(given))
  lost = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', text(now))
end
if #lost == 0 then return {'ok', now, 0, 0} end
local gone = {}
for _, worker in ipairs(lost) do
  gone[worker] = true
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', INFO, worker)
  redis.call('SREM', IDLE, worker)
  redis.call('ZREM', DRAINING, worker)
end

-- Proportional to what is in flight, never to the backlog, and only when a worker has died.
local held, count = redis.call('HGETALL', ACTIVE), 0
for i = 1, #held, 2 do
  if gone[held[i + 1]] then
    redis.call('HSET', ACTIVE, held[i], heir)
    count = count + 1
  end
end
if count > 0 then redis.call('ZADD', WORKERS, text(now + lease), heir) else forget_sleepers() end
return {'ok', now, #lost, count}
