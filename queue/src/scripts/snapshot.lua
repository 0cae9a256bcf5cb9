-- One queue's figures at one instant. Writes nothing.
-- KEYS  shared
-- returns {'stale'}, or {'ok', now ms, lengths of the lists, beginnings of the records at their heads,
--          scheduled, due, next due ms or -1, active, dead, workers, lapsed workers, counters by name}
if not current() then return {'stale'} end
local now = now_ms()
local lengths, heads = {}, {}
for i = FIRST_LIST, LAST_LIST do
  local length = redis.call('LLEN', KEYS[i])
  lengths[#lengths + 1] = length
  if length > 0 then
    local record = redis.call('HGET', TASKS, redis.call('LINDEX', KEYS[i], 0))
    -- A level's name, a zero byte and the two times: 32 + 1 + 1 + 9 + 9 bytes at most.
    if record then heads[#heads + 1] = string.sub(record, 1, 64) end
  end
end
local first_due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
return {
  'ok', now, lengths, heads,
  redis.call('ZCARD', DUE), redis.call('ZCOUNT', DUE, '-inf', now), first_due[2] or '-1',
  redis.call('HLEN', ACTIVE), redis.call('ZCARD', DEAD),
  redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf'), redis.call('ZCOUNT', WORKERS, '-inf', now),
  redis.call('HGETALL', STATS),
}
