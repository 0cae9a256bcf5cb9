-- A worker's heartbeat: registers it, or extends its lease.
-- ARGV  3 worker; 4 lease in ms; 5 what it says of itself, to register; '' to extend
-- returns {'ok', now ms, ids of tasks that it holds and that are to be cancelled, 1 if it drains}, or
--         {'lapsed', now ms} when it is not registered: its id is spent
local now = now_ms()
if ARGV[5] ~= '' then
  redis.call('HSET', INFO, ARGV[3], ARGV[5])
elseif not redis.call('ZSCORE', WORKERS, ARGV[3]) then
  return {'lapsed', now}
end
redis.call('ZADD', WORKERS, text(now + ARGV[4]), ARGV[3])
local cancelled = {}
if redis.call('EXISTS', CANCEL) == 1 then
  for _, id in ipairs(redis.call('SMEMBERS', CANCEL)) do
    local holder = redis.call('HGET', ACTIVE, id)
    if holder == ARGV[3] then cancelled[#cancelled + 1] = id end
  end
end
local draining = redis.call('ZSCORE', DRAINING, ARGV[3])
return {'ok', now, cancelled, draining and tonumber(draining) > now and 1 or 0}
