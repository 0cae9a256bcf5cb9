-- Shared: moves tasks that are due to the tails of their levels' lists, at most `limit`. Returns how many became
-- runnable, how many were due, and whether a list had held no task.
include 'missing'
include 'levels'
include 'live'
local function promote(now, limit)
  local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', text(now), 'LIMIT', '0', text(limit))
  if #ids == 0 then return 0, 0, false end
  local records, gone = redis.call('HMGET', TASKS, unpack(ids)), 0
  for i = 1, #ids do
    if not records[i] then gone = gone + 1 end
  end
  count_missing(gone)
  local appended, was_empty = append(ids, records)
  redis.call('ZREM', DUE, unpack(ids))
  if live then
    include 'tell'
    for i, id in ipairs(ids) do
      if records[i] then tell('due', id, '', '', '', records[i]) end
    end
    flush()
  end
  return appended, #ids, was_empty
end
