-- Takes the marks of draining workers away. They find out by their next heartbeat; one that has not found out yet that
-- it was marked may block still, and so is woken.
-- REST: ids of workers
-- returns {'ok', now ms}
include 'wake'

local back = 0
for i = REST, #ARGV do
  if redis.call('ZREM', DRAINING, ARGV[i]) == 1 and redis.call('ZSCORE', WORKERS, ARGV[i]) then
    redis.call('SADD', IDLE, ARGV[i])
    back = back + 1
  end
end
wake(back)
return {'ok', now_ms()}
