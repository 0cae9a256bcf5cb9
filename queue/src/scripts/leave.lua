-- Takes a worker that holds no task out of the queue.
-- returns {'held', now ms, how many tasks} with nothing done, or {'ok', now ms}
include 'wake'
include 'sleepers'

local now = now_ms()
local held = 0
for _, holder in ipairs(redis.call('HVALS', ACTIVE)) do
  if holder == worker then held = held + 1 end
end
if held > 0 then return {'held', now, held} end
redis.call('ZREM', WORKERS, worker)
redis.call('HDEL', INFO, worker)
redis.pcall('HDEL', RUNS, worker)
redis.call('SREM', IDLE, worker)
redis.call('ZREM', DRAINING, worker)
forget_sleepers()
-- It may have swallowed a token on its way out; whoever it was meant for finds nothing at worst.
for i = FIRST_LIST, LAST_LIST do
  if redis.call('EXISTS', KEYS[i]) == 1 then wake(1) break end
end
return {'ok', now}
