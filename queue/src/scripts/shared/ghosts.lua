-- Shared: ghosts. A list may hold ids whose tasks are gone: they are not looked for when the task goes, which would take
-- time in proportion to the list, but passed over when their turn comes (see laid.lua). GHOSTS counts them.
local function ghosts_in(list)
  return redis.call('HGET', GHOSTS, string.match(list, '[^:]*$')) or 0
end

-- Appends ids to a list and returns whether it held no task before.
local function append_to(list, ids)
  local before = redis.call('RPUSH', list, unpack(ids)) - #ids
  local ghosts = tonumber(ghosts_in(list)) or 0
  -- More than there were ids are of a list that the server lost: they would hide as many tasks.
  if ghosts > before then
    local level = string.match(list, '[^:]*$')
    if before > 0 then redis.call('HSET', GHOSTS, level, text(before)) else redis.call('HDEL', GHOSTS, level) end
  end
  return before <= ghosts
end
