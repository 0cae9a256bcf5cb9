-- The hot one: delivers the acks of completed tasks and leases new ones, in one call.
-- KEYS  the done buckets of the acks
-- `slots` is how many tasks to lease; `listens` '1' if the worker blocks for a token when it gets fewer; `listed` '1' if it
-- may be in IDLE; `token` what woke it; `retention` how long done records are kept, in ms; `run_ms` the time that the acked
-- attempts ran together; `order` as in order.lua; `most_active`, `rate` and `rate_span` (ms) the limits of the queue, '' for
-- none. REST: for each of `buckets` its number of acks, then for each ack the id and the done record, bucket by bucket.
-- returns {'ok', now ms, ids of refused acks, ms when to look again or -1, '1' if there may be more at once,
--          ids, records, losses, 1 if it drains, how many ids it came upon whose tasks are missing}
--         {'stale', refused}: acks done, nothing leased; {'lapsed', now ms, refused}: the same, for good
-- An ack is refused if the worker does not hold the task, unless that very record is already there: then the
-- call repeats one whose reply was lost. One refused ack leaves the others alone. A task with a unique key, a
-- concurrency key or an expiry is settled instead (see settle.lua). A worker that drains (see drain.lua) is given
-- nothing, and a token that it brings goes on to another.
include 'current'
include 'strict'

-- What most queues have none of, by one look instead of one for each. To make a function costs as much as a command: those that
-- most calls do without are made where they are called.
local shelved = redis.call('EXISTS', SHELVES) == 1
local rare = redis.call('EXISTS', LOST, PROGRESS, DRAINING, GHOSTS, LATER) > 0
if rare then
  include 'layout'
end
local now = now_ms()
include 'live'
local refused, acked, wanted = {}, 0, tonumber(slots)

if #ARGV > REST + buckets then
  include 'acks'
end

local expiry = redis.call('ZSCORE', WORKERS, worker)
if not expiry then return {'lapsed', now, refused} end
local remaining = expiry - now
-- More than the lease is left where the clock went back.
if remaining < lease / 2 or remaining > tonumber(lease) then redis.call('ZADD', WORKERS, text(now + lease), worker) end
if not current() then return {'stale', refused} end

local drains_until = rare and redis.call('ZSCORE', DRAINING, worker)
local draining = drains_until and tonumber(drains_until) > now
if draining then wanted = 0 end
local blocks = listens == '1' and not draining

if token ~= '' and wanted == 0 and not blocks then
  -- It has no use for it any more; another that blocks has.
  redis.call('RPUSH', WAKE, token)
elseif token ~= '' and token ~= worker then
  redis.call('SREM', IDLE, worker)
  local drained = rare and redis.call('ZSCORE', DRAINING, token)
  local stays = redis.call('ZSCORE', WORKERS, token) and not (drained and tonumber(drained) > now)
  if stays then redis.call('SADD', IDLE, token) end
end

-- When the next scheduled task is due, or more may begin.
local again, promoted = tonumber(redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2]), 0
if again and again <= now then
  include 'promote'
  promoted = promote(now, 128)
  again = tonumber(redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2])
end

-- What the limits of the whole queue leave.
local allowed, limited = wanted, false
if most_active ~= '' and allowed > 0 then
  allowed = math.max(math.min(allowed, most_active - redis.call('HLEN', ACTIVE)), 0)
end
if rate ~= '' and allowed > 0 then
  include 'limits'
  local free, reopens = rate_room(now, rate, rate_span)
  limited = true
  if free < allowed then
    allowed = free
    if reopens and (not again or reopens < again) then again = reopens end
  end
end

local ids, records, losses, got = {}, {}, {}, 0
if allowed > 0 and (rare or order ~= '') then
  include 'order'
  ids = take(order, allowed, now, rare)
elseif allowed > 0 then
  ids = take_strictly({}, allowed)
end
local leases = {}
if #ids > 0 then records = redis.call('HMGET', TASKS, unpack(ids)) end
if shelved then
  include 'fetched'
end
for i = 1, #ids do
  if records[i] then
    leases[2 * got + 1], leases[2 * got + 2] = ids[i], worker
    got = got + 1
  end
end
if got > 0 then
  redis.call('HSET', ACTIVE, unpack(leases))
  if rare then losses = redis.call('HMGET', LOST, unpack(ids)) end
  if limited then
    include 'limits'
    rate_use(now, rate_span, got)
  end
end
if live and got > 0 then
  include 'tell'
  for i, id in ipairs(ids) do
    if records[i] then tell('started', id, worker, '', '', records[i]) end
  end
  flush()
end
local ghosts = #ids > got
if ghosts then
  include 'ghosted'
end

local left = math.max(promoted - #ids, 0)
-- Places that a limit had kept from others, and that this worker leaves free.
if most_active ~= '' and wanted == 0 then left = left + acked end
if left > 0 then
  include 'wake'
  wake(left)
end
if blocks and (wanted == 0 or #ids < wanted) and not ghosts then
  redis.call('SADD', IDLE, worker)
elseif listed == '1' then
  redis.call('SREM', IDLE, worker)
end
return {'ok', now, refused, again or -1, ghosts and '1' or '0', ids, records, losses, draining and 1 or 0, missing}
