-- Shared: the task that stands for an idempotency key (see keyed.lua) has ended. From now on the key is kept for its time.
local function begin_lapse(key, id, now)
  local entry = key ~= '' and redis.call('HGET', IDEMPOTENCY, key)
  local holder, keep = string.match(entry or '', '^(%w+) %x+ (%d+)$')
  if holder ~= id then return end
  redis.call('HSET', IDEMPOTENCY, key, entry .. 'e')
  redis.call('ZADD', LAPSES, text(now + keep), key)
end
