-- Ends tasks that do not run: cancelled, or not started in time. One that runs is marked to be cancelled.
-- KEYS  the done buckets of the tasks, then their shelves in the same order
-- ARGV  3 what they end as: 'cancelled' or 'expired'; 4 how long done records are kept, in ms
--       then four for each task: id, its record as the caller knows it, its done record, place of its bucket
-- returns {'stale'} with nothing done, or {'ok', now ms, for each task: 'removed', 'active' when it runs, 'changed'
--         when its record is another one or its span is to be
--         unfolded first, or 'gone'}
include 'current'
include 'places'
include 'unique'
include 'keep'

if not current() then return {'stale'} end
local now = now_ms()
local removed, fates = 0, {}
declare_shelves()
-- As long as in `later.rs`.
local SPAN_MS = 65536

-- Takes it out of wherever it is. False, with nothing done, if that cannot be told.
local function take_out(id, record)
  if redis.call('ZREM', DUE, id) == 1 then return true end
  local _, _, key = extras_of(record)
  if key ~= '' and redis.call('ZREM', PARKED, key .. '\0' .. id) == 1 then return true end
  local body = body_of(record)
  local span = body and text(math.floor(body[2] / SPAN_MS))
  if span and redis.call('ZSCORE', LATER, span) then
    -- Its span should have been unfolded by now, and may have been in part.
    if body[2] <= now then return false end
    -- It is in a span far ahead, which passes over it when its time comes.
    redis.call('HINCRBY', STATS, 'later', '-1')
    if redis.call('HEXISTS', LATERGHOSTS, span) == 1 then redis.call('HINCRBY', LATERGHOSTS, span, '1') end
    return true
  end
  local list = list_of(record) or KEYS[LAST_LIST]
  redis.call('HINCRBY', GHOSTS, string.match(list, '[^:]*$'), '1')
  give_back(id, key)
  return true
end

for i = 5, #ARGV, 4 do
  local id, known, done = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local record = record_of(id)
  local fate
  if not record or redis.call('ZSCORE', DEAD, id) then
    redis.call('SREM', CANCEL, id)
    fate = 'gone'
  elseif redis.call('HEXISTS', ACTIVE, id) == 1 then
    if ARGV[3] == 'cancelled' then
      redis.call('SADD', CANCEL, id)
      -- Off its shelf, where it would not be found once it does not run any more (see survey.lua).
      rewrite(id, record)
    end
    fate = 'active'
  elseif record ~= known or not take_out(id, record) then
    fate = 'changed'
  else
    drop(id)
    let_go(id, record)
    redis.call('HDEL', LOST, id)
    redis.call('SREM', CANCEL, id)
    local bucket = KEYS[LAST_LIST + ARGV[i + 3]]
    redis.call('HSET', bucket, id, done)
    keep(bucket, 1, ARGV[4], now)
    removed = removed + 1
    fate = 'removed'
  end
  fates[#fates + 1] = fate
end
if removed > 0 then redis.call('HINCRBY', STATS, ARGV[3], text(removed)) end
return {'ok', now, fates}
