-- Shared: when the first scheduled task is due, in ms; nil if there is none.
local function first_due()
  return tonumber(redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2])
end
