-- Enqueues a batch.
-- KEYS  for a repeated call only, the done buckets of the ids
-- `repeated` is '1' when the call repeats one whose reply was lost: ids that exist are passed over; `wakes` '1' to wake
-- workers; `channel` where to announce `queue`, its name; `most_waiting` how many tasks may wait, '' for no bound; `together`
-- '1' if the batch is taken whole or not at all, '0' if each task is on its own; `scheduled` how many tasks are due later;
-- `special` how many have a key of any kind or an expiry.
-- REST: for each level its number of runs, which are of tasks that lie together; for each run, level by level, its number of
-- tasks and '1' if they lie on a shelf; the delays of those that are due later, in ms; then for each task its id and record:
-- level by level, then those due later; then for each special one: id, record, level, delay in ms, unique key or '',
-- ttl in ms, idempotency key or '', fingerprint of what the call asks for, how long the key is kept in ms
-- returns {'stale'} with nothing done; {'full', now ms, tasks that wait, {completed now, completed
--         some time ago, when that was in ms}} with nothing done; {'conflict', now ms, id, the one that stands} with nothing
--         done, if the batch is taken whole and a call that asked for something else had the idempotency key of that id; or
--         {'ok', now ms, ids of those left out because the queue is full, pairs of an id and the one that stands, if some are
--         special, such pairs of those not taken because of their idempotency keys}
include 'current'
include 'wake'
include 'ghosts'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local run_at = REST + LEVELS
local delay_at = run_at
for i = REST, REST + LEVELS - 1 do delay_at = delay_at + 2 * ARGV[i] end
local task_at = delay_at + scheduled
local special_at = #ARGV - 9 * special + 1

-- Which of them exist, and for which another stands: few calls have any. To make a function costs as much as a command, so
-- most calls do without.
local known, old = {}, 0
if repeated == '1' then
  include 'stored'
  local buckets = {}
  for i = LAST_LIST + 1, #KEYS do buckets[string.sub(KEYS[i], -9)] = KEYS[i] end
  local i = task_at
  while i < #ARGV do
    local id = ARGV[i]
    known[id] = record_of(id) or redis.call('HEXISTS', buckets[string.sub(id, 1, 9)], id) == 1
    if known[id] then old = old + 1 end
    i = i + (i < special_at and 2 or 9)
  end
end
if special ~= '0' then
  include 'holder'
  include 'keyed'
  local first_of = {}
  for i = special_at, #ARGV, 9 do
    local id, key, fingerprint = ARGV[i], ARGV[i + 6], ARGV[i + 7]
    local stands, same = stands_for(key, fingerprint, now)
    local was_known, first = known[id], first_of[key]
    -- Its key tells as well, and for longer than its done record.
    known[id] = was_known or stands == id
    if known[id] then
      if not was_known then old = old + 1 end
    elseif stands or holder_of(ARGV[i + 4], id, now) then
      old = old + 1
    elseif first then
      stands, same = ARGV[first], ARGV[first + 7] == fingerprint
    elseif key ~= '' then
      first_of[key] = i
    end
    if together == '1' and stands and not same and not known[id] then return {'conflict', now, id, stands} end
  end
end

local room = math.huge
if most_waiting ~= '' then
  local waiting = redis.call('ZCARD', DUE) + redis.call('ZCARD', PARKED)
  for i = FIRST_LIST, LAST_LIST do waiting = waiting + redis.call('LLEN', KEYS[i]) - ghosts_in(KEYS[i]) end
  room = math.max(most_waiting - waiting, 0)
  local new = (special_at - task_at) / 2 + special - old
  if together == '1' and new > room then
    return {'full', now, waiting, redis.call('HMGET', STATS, 'completed', 'mark', 'mark_ms')}
  end
end

local added, left_out, standing, conflicts = 0, {}, {}, nil
-- Places in ARGV of those to be told of, if somebody listens.
local news = live and {}

-- Stores the tasks from `task_at` on, at most 1000 of them, in a hash, and returns the ids of those that are new, with their
-- places in ARGV.
local function store(count, hash)
  local ids, places = {}, {}
  for i = task_at, task_at + 2 * count - 2, 2 do
    if known[ARGV[i]] then
      -- Nothing to do.
    elseif room < 1 then
      left_out[#left_out + 1] = ARGV[i]
    else
      ids[#ids + 1], places[#places + 1] = ARGV[i], i
      room = room - 1
    end
  end
  if #ids == count then
    redis.call('HSET', hash, unpack(ARGV, task_at, task_at + 2 * count - 1))
  else
    for _, i in ipairs(places) do redis.call('HSET', hash, ARGV[i], ARGV[i + 1]) end
  end
  task_at = task_at + 2 * count
  added = added + #ids
  if live then
    for _, i in ipairs(places) do news[#news + 1] = i end
  end
  return ids, places
end

local runnable, was_empty = 0, false
for level = 1, LEVELS do
  for _ = 1, tonumber(ARGV[REST + level - 1]) do
    local count, name = tonumber(ARGV[run_at]), ARGV[run_at + 1] == '1' and string.sub(ARGV[task_at], 1, 9)
    run_at = run_at + 2
    while count > 0 do
      local ids = store(math.min(count, 1000), name and string.sub(SHELVES, 1, -#'shelves' - 1) .. 'shelf:' .. name or TASKS)
      count = count - 1000
      if #ids > 0 then
        if name then redis.call('HSETNX', SHELVES, name, text(now)) end
        was_empty = append_to(KEYS[LAST_LIST - LEVELS + level], ids) or was_empty
        runnable = runnable + #ids
      end
    end
  end
end
local tells_sleepers = wakes == '1' and (scheduled ~= '0' or special ~= '0')
local before = tells_sleepers and tonumber(redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2])
local first, to_come = task_at, tonumber(scheduled)
while to_come > 0 do
  local ids, places = store(math.min(to_come, 1000), TASKS)
  to_come = to_come - 1000
  local times = {}
  for i, id in ipairs(ids) do
    times[2 * i - 1], times[2 * i] = text(now + ARGV[delay_at + (places[i] - first) / 2]), id
  end
  if #ids > 0 then redis.call('ZADD', DUE, unpack(times)) end
end
if special ~= '0' then
  include 'admit'
  include 'keyed'
  include 'stand'
  conflicts = {}
  for i = task_at, #ARGV, 9 do
    local id, key, fingerprint = ARGV[i], ARGV[i + 6], ARGV[i + 7]
    local stands, same = stands_for(key, fingerprint, now)
    local holder = stands or holder_of(ARGV[i + 4], id, now)
    if known[id] then
      -- Nothing to do.
    elseif stands and not same then
      conflicts[#conflicts + 1], conflicts[#conflicts + 2] = id, stands
    elseif holder then
      standing[#standing + 1], standing[#standing + 2] = id, holder
    elseif room < 1 then
      left_out[#left_out + 1] = id
    else
      local now_runnable, first_one =
        admit(id, ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], now)
      if key ~= '' then stand_for(key, id, fingerprint, ARGV[i + 8], now) end
      room, added = room - 1, added + 1
      if live then news[#news + 1] = i end
      if now_runnable then runnable = runnable + 1 end
      was_empty = was_empty or first_one
    end
  end
end

if added > 0 then redis.call('HINCRBY', STATS, 'enqueued', text(added)) end
if live then
  include 'tell'
  for _, i in ipairs(news) do tell('enqueued', ARGV[i], '', '', '', ARGV[i + 1]) end
  flush()
end
if wakes == '1' then
  if tells_sleepers then
    include 'sooner'
    wake_if_sooner(before)
  end
  wake(runnable)
end
if was_empty then redis.call('PUBLISH', channel, queue) end
return {'ok', now, left_out, standing, conflicts}
