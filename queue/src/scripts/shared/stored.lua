-- Shared: a task's record, wherever it lies.
include 'shelves'

local function record_of(id)
  local record = redis.call('HGET', TASKS, id)
  local shelf = not record and shelf_of(string.sub(id, 1, 9))
  return record or shelf and redis.call('HGET', shelf, id) or false
end

-- Writes it anew.
local function rewrite(id, record)
  if redis.call('HSET', TASKS, id, record) == 1 then clear(string.sub(id, 1, 9), {id}, 1, 1) end
end
