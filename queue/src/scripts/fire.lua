-- A run of a schedule: enqueues its task, if nobody else did. Or, without a task, only notes how it stands.
-- `schedule` is its name; `known` the note that the caller knows, '' for none; `note` what to note instead, '' for nothing;
-- `wakes` '1' to wake workers; `channel` where to announce `queue`, its name; `id` that of the task, '' for none; `record` its
-- record
-- returns {'stale'} with nothing done; {'ok', now ms, '1' if done, '0' if somebody else was first}
include 'current'
include 'wake'
include 'levels'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
if (redis.call('HGET', SCHEDULES, schedule) or '') ~= known then return {'ok', now, '0'} end
if note == '' then
  redis.call('HDEL', SCHEDULES, schedule)
else
  redis.call('HSET', SCHEDULES, schedule, note)
end
if id ~= '' then
  redis.call('HSET', TASKS, id, record)
  redis.call('HINCRBY', STATS, 'enqueued', '1')
  if live then
    include 'tell'
    tell('enqueued', id, '', '', '', record)
    flush()
  end
  local appended, was_empty = append({id}, {record})
  if wakes == '1' then wake(appended) end
  if was_empty then redis.call('PUBLISH', channel, queue) end
end
return {'ok', now, '1'}
