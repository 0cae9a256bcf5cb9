-- Takes the marks of draining workers away; they find out by their next heartbeat.
-- ARGV  3.. ids of workers
-- returns {'ok', now ms}
for i = 3, #ARGV do redis.call('ZREM', DRAINING, ARGV[i]) end
return {'ok', now_ms()}
