-- Shared: what a task has beside its place: its expiry and its unique key.
include 'record'

-- A task that ran waits again, and so may expire again (see survey.lua).
local function may_expire(id, record)
  local expires = extras_of(record)
  if expires > 0 then redis.call('ZADD', EXPIRY, text(expires), id) end
end

-- A task that has ended lets go of its unique key, and needs not expire any more. Returns its idempotency key, '' for none.
local function let_go(id, record)
  local expires, unique, _, idempotency = extras_of(record)
  if expires > 0 then redis.call('ZREM', EXPIRY, id) end
  if unique ~= '' and redis.call('HGET', UNIQUE, unique) == id then
    redis.call('HDEL', UNIQUE, unique)
    redis.call('ZREM', UNIQUES, unique)
  end
  return idempotency
end
