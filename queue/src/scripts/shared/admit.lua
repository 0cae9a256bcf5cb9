-- Shared (enqueue): one task that has a key of any kind or an expiry. Such are rarer, and are taken
-- one by one.
include 'record'
include 'ghosts'
include 'holder'
include 'levels'

-- Takes a task in whose unique key is free; returns whether it is runnable now, and whether its list held no task
-- before.
local function admit(id, record, level, delay, unique, ttl, now)
  if unique ~= '' then take_key(unique, id, now + ttl) end
  redis.call('HSET', TASKS, id, record)
  local expires, _, key = extras_of(record)
  if expires > 0 then redis.call('ZADD', EXPIRY, text(expires), id) end
  if delay > 0 then
    redis.call('ZADD', DUE, text(now + delay), id)
  elseif key == '' or claim(id, key) then
    return true, append_to(KEYS[FIRST_LIST + level - 1], {id})
  end
  return false, false
end
