-- A worker's heartbeat: registers it, or extends its lease.
-- `lease` is in ms; `info` what the worker says of itself, to register, '' to extend; `told` '1' if `runs` says what it runs
-- and since when (see runs.rs), '0' if that is as it was
-- returns {'ok', now ms, ids of tasks that it holds and that are to be cancelled, 1 if it drains}, or
--         {'lapsed', now ms} when it is not registered: its id is spent
local now = now_ms()
if info ~= '' then
  redis.call('HSET', INFO, worker, info)
elseif not redis.call('ZSCORE', WORKERS, worker) then
  return {'lapsed', now}
end
redis.call('ZADD', WORKERS, text(now + lease), worker)
-- If that cannot be written, the worker lives all the same.
if told == '1' and runs == '' then redis.pcall('HDEL', RUNS, worker) end
if told == '1' and runs ~= '' then redis.pcall('HSET', RUNS, worker, runs) end
local cancelled = {}
if redis.call('EXISTS', CANCEL) == 1 then
  for _, id in ipairs(redis.call('SMEMBERS', CANCEL)) do
    local holder = redis.call('HGET', ACTIVE, id)
    if holder == worker then cancelled[#cancelled + 1] = id end
  end
end
local draining = redis.call('ZSCORE', DRAINING, worker)
return {'ok', now, cancelled, draining and tonumber(draining) > now and 1 or 0}
