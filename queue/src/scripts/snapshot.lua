-- One queue's figures at one instant. Writes nothing.
-- returns {'stale'}, or {'ok', now ms, lengths of the lists, beginnings of the records at their heads, scheduled, due,
--          next due ms or -1, active, dead, parked, workers, lapsed workers, counters by name}
if not current() then return {'stale'} end
local now = now_ms()
local lengths, heads = {}, {}
local ghosts = redis.call('HGETALL', GHOSTS)
local ghosts_of = {}
for i = 1, #ghosts, 2 do ghosts_of[ghosts[i]] = ghosts[i + 1] end
for i = FIRST_LIST, LAST_LIST do
  local length = redis.call('LLEN', KEYS[i])
  if #ghosts > 0 then length = math.max(length - (ghosts_of[string.match(KEYS[i], '[^:]*$')] or 0), 0) end
  lengths[#lengths + 1] = length
  if length > 0 then
    -- The head may be a ghost.
    for _, id in ipairs(redis.call('LRANGE', KEYS[i], 0, #ghosts > 0 and 9 or 0)) do
      local record = redis.call('HGET', TASKS, id)
      -- A level's name, a byte and the two times: 32 + 1 + 1 + 9 + 9 bytes at most.
      if record then
        heads[#heads + 1] = string.sub(record, 1, 64)
        break
      end
    end
  end
end
local later = tonumber(redis.call('HGET', STATS, 'later') or 0)
local first_due = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2]
if not first_due and later > 0 then
  local span = redis.call('ZRANGE', LATER, 0, 0)[1]
  first_due = span and string.format('%.0f', span * ARGV[3])
end
return {
  'ok', now, lengths, heads,
  redis.call('ZCARD', DUE) + later, redis.call('ZCOUNT', DUE, '-inf', now), first_due or '-1',
  redis.call('HLEN', ACTIVE), redis.call('ZCARD', DEAD), redis.call('ZCARD', PARKED),
  redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf'), redis.call('ZCOUNT', WORKERS, '-inf', now),
  redis.call('HGETALL', STATS),
}
