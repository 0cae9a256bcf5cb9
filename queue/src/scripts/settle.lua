-- The rarer ends of an attempt, several in one call.
-- KEYS  the done buckets of the tasks
-- `retention` is how long done records are kept, in ms; `wakes` '1' to wake workers; `channel` where to announce `queue`, its
-- name. REST: eight for each task: what, id, record, what the log says of its end or '' for the record, delay in ms, run time
-- in ms, place of its bucket among those KEYS, what kind of failure it was (see group.lua) or ''
--       what: 'retry' or 'snooze' with the new record, to be tried again after the delay; 'dead' with the new record;
--       'quarantined' the same, with a loss more; 'lost' with the new record, '' if it stays as it is, and a loss more,
--       handed back after the delay, or at once if that is 0; 'release', handed back, with no record; 'completed', 'cancelled',
--       'expired' or 'dropped' with the done record
--       Handed-back tasks come newest first, so that the oldest ends at the head
-- returns {'stale'} with nothing done, or {'ok', now ms, ids of refused ones}
-- One is refused if the worker does not hold the task, unless that very record is already there: then the call
-- repeats one whose reply was lost.
include 'current'
include 'layout'
include 'sooner'
include 'end'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local settled = live and {}
local refused, counts, run_ms, handed_back, was_empty = {}, {}, 0, 0, false
local before = first_due()
local is_end = {completed = true, cancelled = true, expired = true, dropped = true}
local elders

local function told_before(what, id, record, bucket)
  if is_end[what] then return redis.call('HGET', bucket, id) == record end
  local kept = what ~= 'release' and record_of(id)
  -- But for the level, which another may have taken the place of since.
  return kept and string.match(kept, '[%z\1].*') == string.match(record, '[%z\1].*')
end

-- Back to the head of its list.
local function hand_back(id, kept, record)
  if not kept then
    count_missing(1)
    vacate({id})
    return
  end
  if record ~= '' then rewrite(id, record) end
  local list = list_for(id, kept)
  if redis.call('LPUSH', list, id) - ghosts_in(list) == 1 then was_empty = true end
  may_expire(id, kept)
  handed_back = handed_back + 1
end

-- Again after a while.
local function put_off(id, kept, record, delay)
  rewrite(id, record)
  redis.call('ZADD', DUE, text(now + delay), id)
  if kept then may_expire(id, kept) end
  leave_place(id, kept)
end

for i = REST, #ARGV, 8 do
  local what, id, record, entry, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local bucket, group = KEYS[LAST_LIST + ARGV[i + 6]], ARGV[i + 7]
  if record ~= '' and not is_end[what] then
    if elders == nil then
      include 'elders'
      elders = has_elders(now)
    end
    if elders then
      include 'elders'
      record = in_short(record)
    end
  end
  if redis.call('HGET', ACTIVE, id) ~= worker then
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
      hand_back(id, kept, record)
    elseif is_end[what] then
      finish(id, kept, true, bucket, record, retention, now)
      if what == 'completed' then run_ms = run_ms + ARGV[i + 5] end
    elseif what == 'dead' or what == 'quarantined' then
      bury(id, kept, record, entry, now)
    else
      put_off(id, kept, record, delay)
    end
    if entry ~= '' and (what == 'retry' or what == 'lost') then log({id, entry}, 1, 2) end
    if group ~= '' then
      include 'group'
      -- What cannot be counted holds up nothing.
      pcall(count_in_group, group, id, now)
    end
    if live then settled[#settled + 1] = {i, kept or ''} end
  end
end

if live then
  include 'settled'
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
if wakes == '1' then
  wake(handed_back)
  if counts.retry or counts.snooze or counts.lost then wake_if_sooner(before) end
end
if was_empty then redis.call('PUBLISH', channel, queue) end
return {'ok', now, refused}
