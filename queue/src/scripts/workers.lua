-- Who works for the queue. Proportional to what is in flight.
-- returns {'ok', now ms, ids, when their leases lapse in ms, what they say of themselves, how many tasks each holds,
--         1 for each that drains}
local now = now_ms()
local listed = redis.call('ZRANGE', WORKERS, '0', '-1', 'WITHSCORES')
local holds = {}
for _, worker in ipairs(redis.call('HVALS', ACTIVE)) do holds[worker] = (holds[worker] or 0) + 1 end
local ids, lapses, infos, counts, drains = {}, {}, {}, {}, {}
for i = 1, #listed, 2 do
  ids[#ids + 1], lapses[#lapses + 1] = listed[i], listed[i + 1]
  infos[#infos + 1] = redis.call('HGET', INFO, listed[i]) or ''
  counts[#counts + 1] = holds[listed[i]] or 0
  local draining = redis.call('ZSCORE', DRAINING, listed[i])
  drains[#drains + 1] = draining and tonumber(draining) > now and 1 or 0
end
return {'ok', now, ids, lapses, infos, counts, drains}
