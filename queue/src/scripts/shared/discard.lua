-- Shared: throwing dead letters away.
include 'drop'
local function discard(ids)
  if #ids == 0 then return end
  redis.call('ZREM', DEAD, unpack(ids))
  for _, id in ipairs(ids) do drop(id) end
  redis.call('HINCRBY', STATS, 'purged', text(#ids))
end
