-- Shared: sending dead letters round again, with all their attempts before them and their history kept.
include 'numbers'
include 'stored'
include 'holder'
include 'levels'

-- The record of a task as if it were enqueued now; it does not expire any more. Nil for one that cannot be read.
local function begin_anew(record, now)
  local renewed, at = runnable_from(record, now)
  if not renewed then return nil end
  local mark = string.find(renewed, '[%z\1]')
  -- The attempts stand behind the type; the extras, if there are any, behind the errors.
  at = behind(renewed, at)
  renewed = with_number(renewed, at, 0)
  if string.byte(renewed, mark) == 1 then
    -- When it expires; and when it failed for the first time, behind its keys.
    at = first_in(renewed, behind(renewed, behind(renewed, at)))
    renewed = with_number(renewed, at, 0)
    at = behind(renewed, behind(renewed, behind(renewed, at)))
    renewed = with_number(renewed, at, 0)
  end
  return renewed
end

-- Writes the record of a dead letter anew and takes its unique key again. Returns whether it did; if not, the id of the task that
-- has the key, nil for a record that cannot be read.
local function revive(id, record, now, longest)
  local _, unique = extras_of(record)
  local holder = holder_of(unique, id, now)
  if holder then return false, holder end
  local renewed = begin_anew(record, now)
  if not renewed then return false end
  rewrite(id, renewed)
  -- For how long it was to have it nobody knows any more: until it ends.
  take_key(unique, id, now + longest)
  return true
end

-- Puts letters that were revived to the tails of their levels. Returns how many are runnable now, and whether a list had held no
-- task.
local function send_round(ids, records)
  redis.call('ZREM', DEAD, unpack(ids))
  redis.call('HDEL', LOST, unpack(ids))
  redis.call('HINCRBY', STATS, 'redriven', text(#ids))
  return append(ids, records)
end
