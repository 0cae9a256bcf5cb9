-- Shared: who has a unique key.

-- The id of another task that has it, if there is one.
local function holder_of(unique, id, now)
  if unique == '' then return nil end
  local holder = redis.call('HGET', UNIQUE, unique)
  if holder and holder ~= id and tonumber(redis.call('ZSCORE', UNIQUES, unique) or 0) > now then return holder end
  return nil
end

-- Gives a key that is free to a task, until it ends or this time has come.
local function take_key(unique, id, lapse)
  if unique == '' then return end
  redis.call('HSET', UNIQUE, unique, id)
  redis.call('ZADD', UNIQUES, text(lapse), unique)
end
