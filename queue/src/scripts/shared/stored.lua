-- Shared: a task's record, wherever it lies.
include 'shelves'

-- Nil if there is none; false if it may lie on a shelf that was not declared.
local function record_of(id)
  local record, name = redis.call('HGET', TASKS, id), string.sub(id, 1, 9)
  if record then return record end
  if shelves[name] then return on_shelf(name, {id})[1] or nil end
  if undeclared(id) then return false end
  return nil
end

local function clear_one(id)
  local name = string.sub(id, 1, 9)
  if shelves[name] and clear(name, {id}, 1, 1) > 0 then sweep(name) end
end

-- Drops a task's record, wherever it lies.
local function drop(id)
  if redis.call('HDEL', TASKS, id) == 0 then clear_one(id) end
end

-- Writes a task's record anew.
local function rewrite(id, record)
  if redis.call('HSET', TASKS, id, record) == 1 then clear_one(id) end
end
