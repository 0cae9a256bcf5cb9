-- Entries of the log of ends that a group needs not be given again. REST: their ids
-- returns {'ok', now ms, how many were pending}
return {'ok', now_ms(), redis.call('XACK', ENDS, group, unpack(ARGV, REST))}
