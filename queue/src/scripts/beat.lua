-- A worker's heartbeat: registers it, or extends its lease.
-- KEYS  shared
-- ARGV  3 worker; 4 lease in ms; 5 what it says of itself, to register; '' to extend
-- returns {'ok', now ms, version in force}, or {'lapsed', now ms} when it is not registered: its id is spent
local now = now_ms()
if ARGV[5] ~= '' then
  redis.call('HSET', INFO, ARGV[3], ARGV[5])
elseif not redis.call('ZSCORE', WORKERS, ARGV[3]) then
  return {'lapsed', now}
end
redis.call('ZADD', WORKERS, now + ARGV[4], ARGV[3])
return {'ok', now, redis.call('HGET', CONFIG, 'version') or ''}
