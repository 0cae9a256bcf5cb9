-- Shared: a task that has ended lets go of its unique key, and needs not expire any more.
local function let_go(id, record)
  local expires, unique = extras_of(record)
  if expires > 0 then redis.call('ZREM', EXPIRY, id) end
  if unique ~= '' and redis.call('HGET', UNIQUE, unique) == id then
    redis.call('HDEL', UNIQUE, unique)
    redis.call('ZREM', UNIQUES, unique)
  end
end
