-- Replaces the policy, if the caller knows the one in force.
-- KEYS  where the level lists are those that the new policy drops altogether
-- `policy` is the new one; of it for scripts, which know no policy: `per_key` is how many tasks of a concurrency key may run at
-- once, '' for no bound; `log` the bounds of the log of ends (see log.lua), '' for none. REST: for each type whose tasks are limited
-- their key (see levels.lua) and how many may run at once
-- returns {'stale'} when another policy is in force, {'held'} when a list that would be dropped holds tasks, both
--         with nothing done; or {'ok', now ms, new version}
include 'current'
include 'wake'

if not current() then return {'stale'} end
for i = FIRST_LIST, LAST_LIST do
  if redis.call('EXISTS', KEYS[i]) == 1 then return {'held', now_ms()} end
end
local had = tonumber(redis.call('HGET', CONFIG, 'perKey') or '')
local has = tonumber(per_key)
if had and (not has or has > had) then redis.call('HSET', CONFIG, 'unpark', '1') end
local limits = {}
for i = REST, #ARGV, 2 do limits[ARGV[i]] = ARGV[i + 1] end
for _, key in ipairs(redis.call('HKEYS', CONFIG)) do
  if string.byte(key) == 0 then
    local had_of_type, has_of_type = tonumber(redis.call('HGET', CONFIG, key)), tonumber(limits[key] or '')
    if not had_of_type or not has_of_type or has_of_type > had_of_type then redis.call('HSET', CONFIG, 'unpark', '1') end
    if not has_of_type then redis.call('HDEL', CONFIG, key) end
  end
end
for key, most in pairs(limits) do redis.call('HSET', CONFIG, key, most) end
local version = redis.call('HINCRBY', CONFIG, 'version', '1')
redis.call('HSET', CONFIG, 'policy', policy, 'perKey', per_key)
if log ~= '' then
  redis.call('HSET', CONFIG, 'log', log)
  redis.call('PERSIST', ENDS)
  redis.call('PERSIST', ENDMARKS)
elseif redis.call('HDEL', CONFIG, 'log') == 1 then
  -- Whoever reads it has a week for the rest.
  redis.call('PEXPIRE', ENDS, '604800000')
  redis.call('PEXPIRE', ENDMARKS, '604800000')
end
-- Everyone that blocks reads the new policy now, not when its wait is over.
wake(redis.call('SCARD', IDLE))
return {'ok', now_ms(), version}
