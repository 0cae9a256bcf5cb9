-- Shared: ids without a record have left a list. So many of them as are not counted as ghosts are missing.
include 'missing'
include 'vacate'
local function lay(list, ids)
  local level = string.match(list, '[^:]*$')
  local left = redis.call('HINCRBY', GHOSTS, level, text(-#ids))
  if left <= 0 then redis.call('HDEL', GHOSTS, level) end
  count_missing(-left)
  vacate(ids)
end
