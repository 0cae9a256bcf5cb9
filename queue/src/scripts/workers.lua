-- Who works for the queue. Proportional to what is in flight.
-- returns {'ok', now ms, ids, when their leases lapse in ms, what they say of themselves, how many tasks each holds,
--         1 for each that drains}
local now = now_ms()
local MOST_WORKERS, MOST_WORDS = 10000, 4096
if redis.call('ZCARD', WORKERS) > MOST_WORKERS then
  return redis.error_reply('ERR the queue has more than ' .. MOST_WORKERS .. ' workers, which is more than can be listed')
end
local listed = redis.call('ZRANGE', WORKERS, '0', '-1', 'WITHSCORES')
local holds = {}
for _, worker in ipairs(redis.call('HVALS', ACTIVE)) do holds[worker] = (holds[worker] or 0) + 1 end
local ids, lapses, infos, counts, drains = {}, {}, {}, {}, {}
for i = 1, #listed, 2 do
  -- What no worker would say of itself is not told: it may be of any size.
  local info = redis.call('HGET', INFO, listed[i]) or ''
  ids[#ids + 1], lapses[#lapses + 1] = string.sub(listed[i], 1, 64), listed[i + 1]
  infos[#infos + 1] = #info <= MOST_WORDS and info or ''
  counts[#counts + 1] = holds[listed[i]] or 0
  local draining = redis.call('ZSCORE', DRAINING, listed[i])
  drains[#drains + 1] = draining and tonumber(draining) > now and 1 or 0
end
return {'ok', now, ids, lapses, infos, counts, drains}
