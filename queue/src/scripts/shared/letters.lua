-- Shared: choosing dead letters, and throwing them away.

-- The ids in ARGV from REST on that are dead letters; if there are none in ARGV, `limit` dead letters that died at
-- `before` or earlier: the oldest behind the first `skip`.
local function letters(before, skip, limit)
  if #ARGV < REST then return redis.call('ZRANGEBYSCORE', DEAD, '-inf', before, 'LIMIT', skip, limit) end
  local dead, chosen = {}, {}
  for i = REST, #ARGV do
    local id = ARGV[i]
    if not chosen[id] and redis.call('ZSCORE', DEAD, id) then dead[#dead + 1] = id end
    chosen[id] = true
  end
  return dead
end
