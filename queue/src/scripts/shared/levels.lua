-- Shared: finding the list of a record's level. A record begins with the level's name and a zero byte.
local list_of_level

-- A level that the caller was not given goes to the last list, which is drained like any other.
local function list_of(record)
  if not list_of_level then
    list_of_level = {}
    for i = FIRST_LIST, LAST_LIST do list_of_level[string.match(KEYS[i], '[^:]*$')] = KEYS[i] end
  end
  local zero = string.find(record, '\0', 1, true)
  return zero and list_of_level[string.sub(record, 1, zero - 1)] or KEYS[LAST_LIST]
end

-- Appends ids to the lists of their records' levels; ids without a record are dropped. Returns how many were
-- appended, and whether a list had been empty.
local function append(ids, records)
  local groups, appended, was_empty = {}, 0, false
  for i, id in ipairs(ids) do
    if records[i] then
      local list = list_of(records[i])
      local group = groups[list] or {}
      groups[list] = group
      group[#group + 1] = id
      appended = appended + 1
    end
  end
  for i = FIRST_LIST, LAST_LIST do
    local group = groups[KEYS[i]]
    if group and redis.call('RPUSH', KEYS[i], unpack(group)) == #group then was_empty = true end
  end
  return appended, was_empty
end
