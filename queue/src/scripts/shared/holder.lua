-- Shared: who has a unique key.

-- The id of another task that has it, if there is one. Without a record there is none, unless it is running: then the
-- server has lost it, or somebody else deleted it.
local function holder_of(unique, id, now)
  if unique == '' then return nil end
  local holder = redis.call('HGET', UNIQUE, unique)
  if not holder or holder == id or tonumber(redis.call('ZSCORE', UNIQUES, unique) or 0) <= now then return nil end
  if redis.call('HEXISTS', TASKS, holder) == 1 or redis.call('HEXISTS', ACTIVE, holder) == 1 then return holder end
  return nil
end

-- Gives a key that is free to a task, until it ends or this time has come.
local function take_key(unique, id, lapse)
  if unique == '' then return end
  redis.call('HSET', UNIQUE, unique, id)
  redis.call('ZADD', UNIQUES, text(lapse), unique)
end
