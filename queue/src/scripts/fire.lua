-- A run of a schedule: enqueues its task, if nobody else did. Or, without a task, only notes how it stands.
-- ARGV  3 the schedule's name; 4 the note that the caller knows, '' for none; 5 what to note instead, '' for nothing
--       6 '1' to wake workers; 7 channel to announce on; 8 the queue's name; 9 id of the task, '' for none; 10 its record
-- returns {'stale'} with nothing done; {'ok', now ms, '1' if done, '0' if somebody else was first}
include 'current'
include 'wake'
include 'levels'

if not current() then return {'stale'} end
local now = now_ms()
if (redis.call('HGET', SCHEDULES, ARGV[3]) or '') ~= ARGV[4] then return {'ok', now, '0'} end
if ARGV[5] == '' then
  redis.call('HDEL', SCHEDULES, ARGV[3])
else
  redis.call('HSET', SCHEDULES, ARGV[3], ARGV[5])
end
if ARGV[9] ~= '' then
  redis.call('HSET', TASKS, ARGV[9], ARGV[10])
  redis.call('HINCRBY', STATS, 'enqueued', '1')
  local appended, was_empty = append({ARGV[9]}, {ARGV[10]})
  if ARGV[6] == '1' then wake(appended) end
  if was_empty then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
end
return {'ok', now, '1'}
