-- The hot one: delivers the acks of completed tasks and leases new ones, in one call.
-- KEYS  the done buckets of the acks, then their shelves in the same order, then the shelves that the tasks to lease may
--       lie on, the nearest first
-- ARGV  3 worker; 4 lease in ms; 5 how many tasks to lease; 6 '1' if it blocks for a token when it gets fewer
--       7 '1' if it may be in IDLE; 8 the token that woke it, or ''; 9 how long done records are kept, in ms
--       10 time the acked attempts ran together, in ms; 11 order of the levels (see shared/order.lua), '' for strict
--       12 most active tasks of the queue, '' for no bound; 13 and 14 rate limit: count, and span in ms; '' for none
--       15 number of buckets; 16 name of the nearest shelf, '' for none
--       then for each bucket its number of acks, then for each ack the id and the done record, bucket by bucket
-- returns {'ok', now ms, ids of refused acks, ms when to look again or -1, '1' if there may be more at once,
--          ids, records, losses, 1 if it drains, names of the shelves that are next, none if as before, how many ids
--          it came upon whose tasks are missing}
--         {'stale', now ms, refused}: acks done, nothing leased; {'lapsed', now ms, refused}: the same, for good
-- An ack is refused if the worker does not hold the task, unless that very record is already there: then the
-- call repeats one whose reply was lost. One refused ack leaves the others alone. A task with a unique key, a
-- concurrency key or an expiry is settled instead (see settle.lua). A worker that drains (see drain.lua) is given
-- nothing, and a token that it brings goes on to another.
include 'current'
include 'strict'

local now = now_ms()
local me, lease, slots = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local buckets = tonumber(ARGV[15])
local refused = {}
-- How much there is of what most queues have none of, by one look instead of one for each.
local rarities = redis.call('EXISTS', LOST, PROGRESS, DRAINING, GHOSTS, SHELVES)
-- Read before anything is done, as it might be no hash.
local shelved = rarities > 0 and redis.call('HLEN', SHELVES) > 0
-- Whether there is any of the others.
local rare = rarities > (shelved and 1 or 0)
-- When the next scheduled task is due.
local again = tonumber(redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2])

-- To make a function costs as much as a command, and to sweep it up afterwards more. So those that most calls do
-- without are made where they are called for.
local next_shelves, shelf, unusual = {}, nil, nil
if shelved then
  include 'fetch'
  declare_shelves(LAST_LIST + buckets + 1, #KEYS)
  shelf = {clear_all = clear_all, sweep_all = sweep_all, look_up = look_up, note_next_shelves = note_next_shelves}
end
if rare or ARGV[11] ~= '' or again and again <= now then
  include 'due'
  include 'wake'
  include 'promote'
  include 'order'
  declare_shelves(LAST_LIST + buckets + 1, #KEYS)
  local function drains(worker)
    local lapse = rare and redis.call('ZSCORE', DRAINING, worker)
    return lapse and tonumber(lapse) > now
  end
  unusual = {drains = drains, first_due = first_due, promote = promote, take = take}
end

local total = 0
for b = 1, buckets do total = total + ARGV[16 + b] end
if total > 0 then
  include 'keep'
  local at, ids = 17 + buckets, {}
  for i = 1, total do ids[i] = ARGV[at + 2 * i - 2] end
  local owners = redis.call('HMGET', ACTIVE, unpack(ids))
  local all_mine = true
  for i = 1, total do
    if owners[i] ~= me then all_mine = false break end
  end
  if not all_mine then ids = {} end
  local seen, on_shelves = 0, 0
  for b = 1, buckets do
    local bucket, count = KEYS[LAST_LIST + b], tonumber(ARGV[16 + b])
    local first, last = seen + 1, seen + count
    if all_mine then
      redis.call('HSET', bucket, unpack(ARGV, at, at + 2 * count - 1))
      keep(bucket, count, ARGV[9], now)
    else
      first = #ids + 1
      for i = 0, count - 1 do
        local id, record = ARGV[at + 2 * i], ARGV[at + 2 * i + 1]
        if owners[seen + i + 1] == me then
          redis.call('HSET', bucket, id, record)
          keep(bucket, 1, ARGV[9], now)
          ids[#ids + 1] = id
        elseif redis.call('HGET', bucket, id) ~= record then
          refused[#refused + 1] = id
        end
      end
      last = #ids
    end
    if shelf then on_shelves = on_shelves + shelf.clear_all(string.sub(bucket, -9), ids, first, last) end
    at, seen = at + 2 * count, seen + count
  end
  if #ids > 0 then
    redis.call('HDEL', ACTIVE, unpack(ids))
    if on_shelves < #ids then redis.call('HDEL', TASKS, unpack(ids)) end
    if rare then
      redis.call('HDEL', LOST, unpack(ids))
      redis.call('HDEL', PROGRESS, unpack(ids))
    end
    redis.call('HINCRBY', STATS, 'completed', text(#ids))
    -- When some acks are refused, the time of all is shared out evenly: it is a mean, not an account.
    local run_ms = math.floor(ARGV[10] * #ids / total)
    if run_ms > 0 then redis.call('HINCRBY', STATS, 'run_ms', text(run_ms)) end
  end
end

local expiry = redis.call('ZSCORE', WORKERS, me)
if not expiry then
  if shelf then shelf.sweep_all() end
  return {'lapsed', now, refused}
end
local remaining = tonumber(expiry) - now
-- More than the lease is left where the clock went back.
if remaining < lease / 2 or remaining > lease then redis.call('ZADD', WORKERS, text(now + lease), me) end
if not current() then
  if shelf then shelf.sweep_all() end
  return {'stale', now, refused}
end

local draining, listens = unusual and unusual.drains(me), ARGV[6] == '1'
if draining then slots, listens = 0, false end

local token = ARGV[8]
if token ~= '' and slots == 0 and not listens then
  -- It has no use for it any more; another that blocks has.
  redis.call('RPUSH', WAKE, token)
elseif token ~= '' and token ~= me then
  redis.call('SREM', IDLE, me)
  local drains = unusual and unusual.drains(token)
  if not drains and redis.call('ZSCORE', WORKERS, token) then redis.call('SADD', IDLE, token) end
end

local promoted = 0
if again and again <= now then
  promoted = unusual.promote(now, 128)
  again = unusual.first_due()
end

-- What the limits of the whole queue leave of the slots.
local allowed = slots
if ARGV[12] ~= '' and slots > 0 then
  allowed = math.max(math.min(allowed, ARGV[12] - redis.call('HLEN', ACTIVE)), 0)
end
local use_rate
if ARGV[13] ~= '' and allowed > 0 then
  include 'limits'
  use_rate = rate_use
  local free, reopens = rate_room(now, ARGV[13], ARGV[14])
  if free < allowed then
    allowed = free
    if reopens and (not again or reopens < again) then again = reopens end
  end
end

local ids, records, losses, short, together = {}, {}, {}, false, nil
if allowed > 0 then
  ids = unusual and unusual.take(ARGV[11], allowed, now, rare) or take_strictly({}, allowed)
end
if #ids > 0 and not shelf then
  records = redis.call('HMGET', TASKS, unpack(ids))
elseif #ids > 0 then
  local stop
  records, stop, together = shelf.look_up(ids)
  if stop then
    include 'put_back'
    short = true
    local taken = #ids
    for i = put_back(ids, stop) + 1, taken do records[i] = nil end
  end
  shelf.note_next_shelves(ids[#ids], #ids > 0 and runs[#runs][1], short, ARGV[16])
end
if shelf then shelf.sweep_all(together) end

local got, ghosts = #ids, 0
if got > 0 then
  local leases, n = {}, 0
  for i = 1, got do
    if records[i] then
      leases[n + 1], leases[n + 2] = ids[i], me
      n = n + 2
    end
  end
  ghosts = got - n / 2
  if n > 0 then redis.call('HSET', ACTIVE, unpack(leases)) end
  if use_rate and n > 0 then use_rate(now, ARGV[14], n / 2) end
  if rare then losses = redis.call('HMGET', LOST, unpack(ids)) end
end
if ghosts > 0 then
  -- Those among what was taken that have no record are forgotten.
  include 'laid'
  local at = 0
  for _, run in ipairs(runs) do
    local gone = {}
    for i = at + 1, at + run[2] do
      if not records[i] then gone[#gone + 1] = ids[i] end
    end
    if #gone > 0 then lay(run[1], gone) end
    at = at + run[2]
  end
end
local left = math.max(promoted - got, 0)
-- Places that a limit had kept from others, and that this worker leaves free.
if ARGV[12] ~= '' and slots == 0 then left = left + total end
if left > 0 then
  include 'wake'
  wake(left)
end

local more = ghosts > 0 or short
if listens and (slots == 0 or got < slots) and not more then
  redis.call('SADD', IDLE, me)
elseif ARGV[7] == '1' then
  redis.call('SREM', IDLE, me)
end
return {
  'ok', now, refused, again or -1, more and '1' or '0', ids, records, losses, draining and 1 or 0, next_shelves,
  missing,
}
