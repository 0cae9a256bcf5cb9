-- Shared: making tasks runnable, which is putting their ids into the lists of their levels.
include 'record'
include 'ghosts'
include 'stored'
local list_of_level

-- The list of a record's level, nil for a level that the caller was not given; and where the level ends.
local function list_of(record)
  if not list_of_level then
    list_of_level = {}
    for i = FIRST_LIST, LAST_LIST do list_of_level[string.match(KEYS[i], '[^:]*$')] = KEYS[i] end
  end
  local mark = string.find(record, '[%z\1]')
  return mark and list_of_level[string.sub(record, 1, mark - 1)], mark
end

-- The list that a task is put into: that of its level. A task whose level is gone goes to the last list, and has
-- that level from now on: who looks for a runnable task by its level finds it, whatever becomes of the levels.
local function list_for(id, record)
  local list, mark = list_of(record)
  if list then return list end
  local last = KEYS[LAST_LIST]
  local kept = mark and record_of(id)
  if kept then
    mark = string.find(kept, '[%z\1]')
    rewrite(id, string.match(last, '[^:]*$') .. string.sub(kept, mark))
  end
  return last
end

-- A task takes a place of its concurrency key. Returns how many are taken now.
local function hold(id, key)
  redis.call('HSET', HOLDERS, id, key)
  return redis.call('HINCRBY', HELD, key, '1')
end

-- A task with a concurrency key is put into its list only while it has a place of that key, which it keeps until
-- it is neither runnable nor active any more. HELD counts the places taken, HOLDERS says who has them. Without a free
-- one it is parked. Tasks of a type that is limited have a key that begins with a zero byte, under which CONFIG has the limit.
local function claim(id, key)
  local limit = tonumber(redis.call('HGET', CONFIG, string.byte(key) == 0 and key or 'perKey') or '')
  if limit and tonumber(redis.call('HGET', HELD, key) or 0) >= limit then
    redis.call('ZADD', PARKED, '0', key .. '\0' .. id)
    return false
  end
  hold(id, key)
  return true
end

-- Appends ids to the lists of their records' levels; ids without a record are dropped. Returns how many were
-- appended, and whether a list had held no task.
local function append(ids, records)
  local groups, appended, was_empty = {}, 0, false
  for i, id in ipairs(ids) do
    if records[i] then
      local _, _, key = extras_of(records[i])
      if key == '' or claim(id, key) then
        local list = list_for(id, records[i])
        local group = groups[list] or {}
        groups[list] = group
        group[#group + 1] = id
        appended = appended + 1
      end
    end
  end
  for i = FIRST_LIST, LAST_LIST do
    local group = groups[KEYS[i]]
    if group and append_to(KEYS[i], group) then was_empty = true end
  end
  return appended, was_empty
end
