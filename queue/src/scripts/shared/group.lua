-- Shared (settle): counting failures of one kind. GROUPS has the fingerprint of each kind by when it was seen last, in ms.
-- GROUPED has for each what is told of it, behind the id of the last task; and by 'n' and the fingerprint its figures: how many,
-- when the first was in ms, in which hour since 1970 the last was, how many in that hour and in the one before it.
include 'ahead'

local MOST_GROUPS = 1000

-- `group` is a fingerprint and what is told of the kind.
local function count_in_group(group, id, now)
  local fingerprint = string.sub(group, 1, 16)
  local name, hour = 'n' .. fingerprint, math.floor(now / 3600000)
  local count, first, last, these, before =
    string.match(redis.call('HGET', GROUPED, name) or '', '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not count or tonumber(last) ~= hour then
    before = count and tonumber(last) == hour - 1 and these or '0'
    these = '0'
  end
  local figures = {text(tonumber(count or 0) + 1), first or text(now), text(hour), text(tonumber(these) + 1), before}
  redis.call('HSET', GROUPED, fingerprint, id .. string.sub(group, 17), name, table.concat(figures, ' '))
  if redis.call('ZADD', GROUPS, text(now), fingerprint) == 0 then return end
  bring_back(GROUPS, now)
  local surplus = redis.call('ZCARD', GROUPS) - MOST_GROUPS
  if surplus <= 0 then return end
  -- The stalest.
  for _, other in ipairs(redis.call('ZRANGE', GROUPS, '0', text(math.min(surplus, 10) - 1))) do
    redis.call('ZREM', GROUPS, other)
    redis.call('HDEL', GROUPED, other, 'n' .. other)
    redis.call('HINCRBY', STATS, 'groups_dropped', '1')
  end
end
