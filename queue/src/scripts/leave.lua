-- Takes a worker that holds no task out of the queue.
-- KEYS  shared
-- ARGV  3 worker
-- returns {'held', now ms, how many tasks} with nothing done, or {'ok', now ms}
include 'wake'
include 'sleepers'

local now = now_ms()
local me, held = ARGV[3], 0
for _, worker in ipairs(redis.call('HVALS', ACTIVE)) do
  if worker == me then held = held + 1 end
end
if held > 0 then return {'held', now, held} end
redis.call('ZREM', WORKERS, me)
redis.call('HDEL', INFO, me)
redis.call('SREM', IDLE, me)
redis.call('ZREM', DRAINING, me)
forget_sleepers()
-- It may have swallowed a token on its way out; whoever it was meant for finds nothing at worst.
for i = FIRST_LIST, LAST_LIST do
  if redis.call('EXISTS', KEYS[i]) == 1 then wake(1) break end
end
return {'ok', now}
