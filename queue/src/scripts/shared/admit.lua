-- Shared (enqueue): one task that has a unique key, a concurrency key or an expiry. Such are rarer, and are taken
-- one by one.

-- The id of another task that has the unique key, if there is one.
local function holder_of(unique, id, now)
  if unique == '' then return nil end
  local holder = redis.call('HGET', UNIQUE, unique)
  if holder and holder ~= id and tonumber(redis.call('ZSCORE', UNIQUES, unique) or 0) > now then return holder end
  return nil
end

-- Takes a task in whose unique key is free; returns whether it is runnable now, and whether its list held no task
-- before.
local function admit(id, record, level, delay, unique, ttl, now)
  if unique ~= '' then
    redis.call('HSET', UNIQUE, unique, id)
    redis.call('ZADD', UNIQUES, now + ttl, unique)
  end
  redis.call('HSET', TASKS, id, record)
  local expires, _, key = extras_of(record)
  if expires > 0 then redis.call('ZADD', EXPIRY, expires, id) end
  if delay > 0 then
    redis.call('ZADD', DUE, now + delay, id)
  elseif key == '' or claim(id, key) then
    return true, append_to(KEYS[FIRST_LIST + level - 1], {id})
  end
  return false, false
end
