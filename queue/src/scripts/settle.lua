-- The rarer ends of an attempt, several in one call.
-- KEYS  the done buckets of the tasks, then their shelves in the same order
-- ARGV  3 worker; 4 how long done records are kept, in ms; 5 '1' to wake workers; 6 channel to announce on; 7 the queue's
--       name; 8 how many tasks
--       then six for each task: what, id, record, delay in ms, run time in ms, place of its bucket among those KEYS
--       what: 'retry' or 'snooze' with the new record, to be tried again after the delay; 'dead' with the new record;
--       'quarantined' the same, with a loss more; 'lost' with the new record, '' if it stays as it is, and a loss more,
--       handed back after the delay, or at once if that is 0; 'release', handed back, with no record; 'completed', 'cancelled',
--       'expired' or 'dropped' with the done record
--       Handed-back tasks come newest first, so that the oldest ends at the head
-- returns {'stale'} with nothing done, or {'ok', now ms, ids of refused ones}
-- One is refused if the worker does not hold the task, unless that very record is already there: then the call
-- repeats one whose reply was lost.
include 'current'
include 'sooner'
include 'vacate'
include 'places'
include 'unique'
include 'keep'

if not current() then return {'stale'} end
local now = now_ms()
local me, retention, count = ARGV[3], ARGV[4], tonumber(ARGV[8])
local refused, counts, run_ms, handed_back, was_empty = {}, {}, 0, 0, false
local before = first_due()
local is_end = {completed = true, cancelled = true, expired = true, dropped = true}

declare_shelves()

local function told_before(what, id, record, bucket)
  if is_end[what] then return redis.call('HGET', bucket, id) == record end
  local kept = what ~= 'release' and record_of(id)
  -- But for the level, which another may have taken the place of since.
  return kept and string.match(kept, '[%z\1].*') == string.match(record, '[%z\1].*')
end

for i = 9, 9 + 6 * (count - 1), 6 do
  local what, id, record, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local bucket = KEYS[LAST_LIST + ARGV[i + 5]]
  if redis.call('HGET', ACTIVE, id) ~= me then
    if not told_before(what, id, record, bucket) then refused[#refused + 1] = id end
  else
    local kept = record_of(id)
    -- What the server has lost meanwhile is written anew, if it is brought.
    if not kept and record ~= '' and not is_end[what] then kept = record end
    redis.call('HDEL', ACTIVE, id)
    redis.call('HDEL', PROGRESS, id)
    counts[what] = (counts[what] or 0) + 1
    if kept and (what == 'lost' or what == 'quarantined') then
      -- Not by HINCRBY: a count that is no number would end the script with the task in no state.
      local losses = tonumber(redis.call('HGET', LOST, id) or 0)
      redis.call('HSET', LOST, id, text(losses and losses >= 0 and losses < 1e9 and math.floor(losses) + 1 or 1))
    end
    if what == 'release' or what == 'lost' and delay == '0' then
      if kept then
        if record ~= '' then rewrite(id, record) end
        local list = list_for(id, kept)
        if redis.call('LPUSH', list, id) - ghosts_in(list) == 1 then was_empty = true end
        may_expire(id, kept)
        handed_back = handed_back + 1
      else
        count_missing(1)
        vacate({id})
      end
    else
      if is_end[what] then
        redis.call('HSET', bucket, id, record)
        keep(bucket, 1, retention, now)
        drop(id)
        redis.call('HDEL', LOST, id)
        redis.call('SREM', CANCEL, id)
        if what == 'completed' then run_ms = run_ms + ARGV[i + 4] end
      else
        rewrite(id, record)
        if what == 'dead' or what == 'quarantined' then
          redis.call('ZADD', DEAD, text(now), id)
          redis.call('SREM', CANCEL, id)
        else
          redis.call('ZADD', DUE, text(now + delay), id)
        end
      end
      if kept then
        if is_end[what] or what == 'dead' or what == 'quarantined' then let_go(id, kept) else may_expire(id, kept) end
        local _, _, key = extras_of(kept)
        give_back(id, key)
      else
        vacate({id})
      end
    end
  end
end

local function count_in(field, by)
  if by and by > 0 then redis.call('HINCRBY', STATS, field, text(by)) end
end
for what in pairs(is_end) do count_in(what, counts[what]) end
count_in('failed', (counts.retry or 0) + (counts.dead or 0) + (counts.dropped or 0))
count_in('retried', counts.retry)
count_in('snoozed', counts.snooze)
count_in('dead', (counts.dead or 0) + (counts.quarantined or 0))
count_in('released', counts.release)
count_in('lost', (counts.lost or 0) + (counts.quarantined or 0))
count_in('run_ms', run_ms)
if ARGV[5] == '1' then
  wake(handed_back)
  if counts.retry or counts.snooze or counts.lost then wake_if_sooner(before) end
end
if was_empty then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return {'ok', now, refused}
