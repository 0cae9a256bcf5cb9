-- Shared (enqueue): one task that has a unique key, a concurrency key or an expiry. Such are rarer, and are taken
-- one by one.

-- Whether another task has the unique key: then its id. If not, the key is taken for `ttl` ms.
local function taken(unique, id, ttl, now)
  local holder = redis.call('HGET', UNIQUE, unique)
  if holder and holder ~= id and tonumber(redis.call('ZSCORE', UNIQUES, unique) or 0) > now then return holder end
  redis.call('HSET', UNIQUE, unique, id)
  redis.call('ZADD', UNIQUES, now + ttl, unique)
  return nil
end

-- Takes a task in; returns the id of the one that stands in its place, or nil, and whether it is runnable now and
-- its list held no task before.
local function admit(id, record, level, delay, unique, ttl, now)
  if unique ~= '' then
    local holder = taken(unique, id, ttl, now)
    if holder then return holder end
  end
  redis.call('HSET', TASKS, id, record)
  local expires, _, key = extras_of(record)
  if expires > 0 then redis.call('ZADD', EXPIRY, expires, id) end
  if delay > 0 then
    redis.call('ZADD', DUE, now + delay, id)
  elseif key == '' or claim(id, key) then
    return nil, true, append_to(KEYS[FIRST_LIST + level - 1], {id})
  end
  return nil, false, false
end
