-- Shared: moves tasks that are due to the tails of their levels' lists, at most `limit`. Returns how many, and
-- whether a list had been empty.
local function promote(now, limit)
  local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, limit)
  if #ids == 0 then return 0, false end
  local appended, was_empty = append(ids, redis.call('HMGET', TASKS, unpack(ids)))
  redis.call('ZREM', DUE, unpack(ids))
  return appended, was_empty
end
