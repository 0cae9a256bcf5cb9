-- Shared: moves tasks that are due to the tails of their levels' lists, at most `limit`. Returns how many became
-- runnable, how many were due, and whether a list had held no task.
local function promote(now, limit)
  local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, limit)
  if #ids == 0 then return 0, 0, false end
  local appended, was_empty = append(ids, redis.call('HMGET', TASKS, unpack(ids)))
  redis.call('ZREM', DUE, unpack(ids))
  return appended, #ids, was_empty
end
