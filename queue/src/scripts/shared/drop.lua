-- Shared: a record goes, and with it what else is kept while its task is there.
include 'stored'
local function drop(id)
  if redis.call('HDEL', TASKS, id) == 0 then clear(string.sub(id, 1, 9), {id}, 1, 1) end
  redis.call('HDEL', LOST, id)
end
