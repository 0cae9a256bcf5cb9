-- The rarer ends of an attempt, several in one call: failed and to be tried again, dead, handed back.
-- KEYS  shared
-- ARGV  3 worker; then four for each task: 'retry' | 'dead' | 'release', id, its new record ('' to hand back),
--       delay in ms ('0' except to retry). Handed-back tasks come newest first, so that the oldest ends at the head
-- returns {'stale'} with nothing done, or {'ok', now ms, ids of refused ones}
-- One is refused if the worker does not hold the task, unless that very record is already there: then the call
-- repeats one whose reply was lost.
if not current() then return {'stale'} end
local now = now_ms()
local me = ARGV[3]
local refused, counts = {}, {retry = 0, dead = 0, release = 0}
local before = first_due()

for i = 4, #ARGV, 4 do
  local kind, id, record, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('HGET', ACTIVE, id) ~= me then
    if redis.call('HGET', TASKS, id) ~= record then refused[#refused + 1] = id end
  else
    redis.call('HDEL', ACTIVE, id)
    counts[kind] = counts[kind] + 1
    if kind == 'release' then
      local kept = redis.call('HGET', TASKS, id)
      if kept then redis.call('LPUSH', list_of(kept), id) end
    else
      redis.call('HSET', TASKS, id, record)
      if kind == 'retry' then
        redis.call('ZADD', DUE, now + delay, id)
      else
        redis.call('ZADD', DEAD, now, id)
      end
    end
  end
end

local function count(field, by)
  if by > 0 then redis.call('HINCRBY', STATS, field, by) end
end
count('failed', counts.retry + counts.dead)
count('retried', counts.retry)
count('dead', counts.dead)
count('released', counts.release)
wake(counts.release)
if counts.retry > 0 then wake_if_sooner(before) end
return {'ok', now, refused}
