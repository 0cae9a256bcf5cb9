-- What there is to do for who keeps the queue in order. Writes only what it finds to be out of date.
-- `most` is how many of each to return; `done_age` (ms) and `most_done`, '' for no bound, what is kept of ended tasks;
-- `least_age` the least age in ms of those dropped by count; `room` bytes of records to return: once there are as many, no
-- more; `largest` most bytes that a record can have; `look_every` how often somebody is to see whether tasks lie nowhere (see
-- strand.lua), in ms
-- returns {'ok', now ms, ids of tasks that have expired, their records, ids of tasks to cancel that do not run, their
--         records, buckets to forget, name and last run of each schedule, 1 if parked tasks are to be let in, 1 if the caller is
--         to look for tasks that lie nowhere, how many idempotency keys were looked at}
include 'layout'
include 'ahead'
include 'stored'
include 'stand'
include 'lapse'

local now = now_ms()
-- What others have written may be of any size, and is none of ours: who calls this takes all of it in.
local left, most_bytes = tonumber(room), tonumber(largest)
local LONGEST_NAME = 128

local function short(members)
  local kept = {}
  for _, member in ipairs(members) do
    if #member <= LONGEST_NAME then kept[#kept + 1] = member end
  end
  return kept
end

local function short_fields(fields)
  local kept = {}
  for i = 1, #fields, 2 do
    if #fields[i] <= LONGEST_NAME and #fields[i + 1] <= LONGEST_NAME then
      kept[#kept + 1], kept[#kept + 2] = fields[i], fields[i + 1]
    end
  end
  return kept
end

-- Those that run are left to their workers: `running` is called with them; `ended` with those that have ended.
local function not_started(ids, ended, running)
  local out, records = {}, {}
  for _, id in ipairs(ids) do
    if left <= 0 then break end
    local record = #id <= LONGEST_NAME and record_of(id)
    if not record or #record > most_bytes or redis.call('ZSCORE', DEAD, id) then
      ended(id)
    elseif redis.call('HEXISTS', ACTIVE, id) == 0 then
      out[#out + 1], records[#records + 1] = id, record
      left = left - #record
    else
      running(id)
    end
  end
  return out, records
end

local function expires_no_more(id) redis.call('ZREM', EXPIRY, id) end
local expired, expired_records =
  not_started(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', text(now), 'LIMIT', '0', most), expires_no_more, expires_no_more)
for _, unique in ipairs(redis.call('ZRANGEBYSCORE', UNIQUES, '-inf', text(now), 'LIMIT', '0', most)) do
  redis.call('HDEL', UNIQUE, unique)
  redis.call('ZREM', UNIQUES, unique)
end

-- Idempotency keys: over, if their tasks have ended; that of a task that has ended though nobody said so, as earlier versions do
-- not, or that the server has lost, is kept for its time from now on.
local lapsed = redis.call('ZRANGEBYSCORE', LAPSES, '-inf', text(now), 'LIMIT', '0', most)
for _, key in ipairs(lapsed) do
  local id, ended = string.match(redis.call('HGET', IDEMPOTENCY, key) or '', '^(%w+) %x+ %d+(e?)$')
  if not id or ended == 'e' then
    redis.call('HDEL', IDEMPOTENCY, key)
    redis.call('ZREM', LAPSES, key)
  elseif record_of(id) or redis.call('HEXISTS', ACTIVE, id) == 1 then
    look_again_later(key, now)
  else
    begin_lapse(key, id, now)
  end
end

local marked, marked_records = {}, {}
if redis.call('EXISTS', CANCEL) == 1 then
  marked, marked_records = not_started(
    redis.call('SRANDMEMBER', CANCEL, most),
    function(id) redis.call('SREM', CANCEL, id) end,
    function() end)
end

bring_back(KEPT, now)
local old = redis.call('ZRANGEBYSCORE', KEPT, '-inf', text(now - done_age), 'LIMIT', '0', most)
if #old == 0 and most_done ~= '' then
  local ended = redis.call('HMGET', STATS, 'completed', 'cancelled', 'expired', 'dropped', 'forgotten')
  local kept = (ended[1] or 0) + (ended[2] or 0) + (ended[3] or 0) + (ended[4] or 0) - (ended[5] or 0)
  if kept > tonumber(most_done) then
    for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', KEPT, '-inf', text(now - least_age), 'LIMIT', '0', most)) do
      kept = kept - (redis.call('HGET', KEPTCOUNT, bucket) or 0)
      if kept < tonumber(most_done) then break end
      old[#old + 1] = bucket
    end
  end
end
local looked, looks = tonumber(redis.call('HGET', CONFIG, 'looked_ms') or ''), 0
if not looked or now - looked >= tonumber(look_every) or looked > now then
  redis.call('HSET', CONFIG, 'looked_ms', text(now))
  looks = 1
end
return {
  'ok', now, expired, expired_records, marked, marked_records,
  short(old),
  short_fields(redis.call('HGETALL', SCHEDULES)),
  redis.call('HEXISTS', CONFIG, 'unpark'),
  looks,
  #lapsed,
}
