-- What keeps workers from taking tasks, for whoever looks after them. The last word of any of them is kept.
-- ARGV  3 the fault, '' for none any more; 4 how long it is kept unless it is told again, in ms
-- returns {'ok', now ms}
if ARGV[3] == '' then redis.call('DEL', FAULT) else redis.call('SET', FAULT, ARGV[3], 'PX', ARGV[4]) end
return {'ok', now_ms()}
