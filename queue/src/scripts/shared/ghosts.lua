-- Shared: ghosts. A list may hold ids whose tasks are gone: they are not looked for when the task goes, which would take
-- time in proportion to the list, but passed over when their turn comes. GHOSTS counts them.
local function ghosts_in(list)
  return redis.call('HGET', GHOSTS, string.match(list, '[^:]*$')) or 0
end

-- Counts ids that turned into ghosts, or (below 0) that left the list.
local function count_ghosts(list, change)
  local level = string.match(list, '[^:]*$')
  if redis.call('HINCRBY', GHOSTS, level, change) <= 0 then redis.call('HDEL', GHOSTS, level) end
end

-- Appends ids to a list and returns whether it held no task before.
local function append_to(list, ids)
  local length = redis.call('RPUSH', list, unpack(ids))
  return length - ghosts_in(list) == #ids
end
