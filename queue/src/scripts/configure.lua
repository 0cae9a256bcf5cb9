-- Replaces the policy, if the caller knows the one in force.
-- KEYS  where the level lists are those that the new policy drops altogether
-- ARGV  3 the new policy; 4 most tasks of a concurrency key that may run at once, '' for no bound
-- returns {'stale'} when another policy is in force, {'held'} when a list that would be dropped holds tasks, both
--         with nothing done; or {'ok', now ms, new version}
include 'current'
include 'wake'

if not current() then return {'stale'} end
for i = FIRST_LIST, LAST_LIST do
  if redis.call('EXISTS', KEYS[i]) == 1 then return {'held', now_ms()} end
end
local had = tonumber(redis.call('HGET', CONFIG, 'perKey') or '')
local has = tonumber(ARGV[4])
if had and (not has or has > had) then redis.call('HSET', CONFIG, 'unpark', '1') end
local version = redis.call('HINCRBY', CONFIG, 'version', '1')
redis.call('HSET', CONFIG, 'policy', ARGV[3], 'perKey', ARGV[4])
-- Everyone that blocks reads the new policy now, not when its wait is over.
wake(redis.call('SCARD', IDLE))
return {'ok', now_ms(), version}
