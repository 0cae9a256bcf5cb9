-- Forgets buckets of done records.
-- KEYS  the buckets
-- `youngest`: only those whose last record came at this time in ms or before
-- returns {'ok', now ms, how many records}
local now = now_ms()
local forgotten = 0
for i = LAST_LIST + 1, #KEYS do
  local name = string.sub(KEYS[i], -9)
  local last = redis.call('ZSCORE', KEPT, name)
  if last and tonumber(last) <= tonumber(youngest) then
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', KEPT, name)
    forgotten = forgotten + (redis.call('HGET', KEPTCOUNT, name) or 0)
    redis.call('HDEL', KEPTCOUNT, name)
  end
end
if forgotten > 0 then redis.call('HINCRBY', STATS, 'forgotten', text(forgotten)) end
return {'ok', now, forgotten}
