-- Shared: throwing dead letters away.
local function discard(ids)
  if #ids == 0 then return end
  redis.call('ZREM', DEAD, unpack(ids))
  redis.call('HDEL', TASKS, unpack(ids))
  redis.call('HDEL', LOST, unpack(ids))
  redis.call('HINCRBY', STATS, 'purged', text(#ids))
end
