-- Shared: times of what has happened that lie ahead, because the clock went back: that of a new primary may be behind. They
-- become now, or nothing would follow from them for as long as the clock needs to catch up.
local function bring_back(set, now)
  local at = text(now)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, '(' .. at, '+inf')) do redis.call('ZADD', set, at, member) end
end
