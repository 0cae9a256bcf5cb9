-- Enqueues a batch.
-- KEYS  the spans of `later` tasks; then the shelves, of all ids if the call is repeated; then, for a repeated call
--       only, the done buckets of the ids
-- ARGV  3 '1' when the call repeats one whose reply was lost: ids that exist are passed over
--       4 '1' to wake workers (not while the queue is paused); 5 channel to announce on; 6 the queue's name
--       7 most tasks that may wait, '' for no bound; 8 '1' if the batch is taken whole or not at all, '0' if each
--       task is on its own; 9 number of tasks due soon; 10 number of spans; 11 number of special tasks; 12 number of
--       shelves
--       13.. for each level list its number of runs, which are of tasks that lie together; then for each span its number
--       of tasks; then for each run, level by level, its number of tasks and the place of its shelf, 0 for TASKS
--       then the delays of those due soon, in ms; then for each task its id and record: level by level, those due
--       soon, span by span; then for each special one: id, record, level, delay in ms, unique key or '', ttl in ms
-- returns {'stale'} with nothing done; {'full', now ms, tasks that wait, {completed now, completed
--         some time ago, when that was in ms}} with nothing done; or
--         {'ok', now ms, ids of those left out because the queue is full, pairs of an id and the one that stands}
include 'current'
include 'wake'
include 'ghosts'

if not current() then return {'stale'} end
local now = now_ms()
local repeated = ARGV[3] == '1'
local soon, spans, special = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local run_at = 13 + LEVELS + spans
local delay_at = run_at
for i = 13, 12 + LEVELS do delay_at = delay_at + 2 * ARGV[i] end
local task_at = delay_at + soon

local first_shelf = LAST_LIST + spans + 1

-- What most calls do without (see exchange.lua).
local unusual
if repeated or special > 0 then
  include 'admit'
  local buckets, first_bucket = {}, first_shelf + ARGV[12]
  declare_shelves(first_shelf, first_bucket - 1)
  for i = first_bucket, #KEYS do buckets[string.sub(KEYS[i], -9)] = KEYS[i] end

  local function exists(id)
    if not repeated then return false end
    local bucket = buckets[string.sub(id, 1, 9)]
    return record_of(id) or bucket and redis.call('HEXISTS', bucket, id) == 1
  end

  -- How many of the tasks are new.
  local function count_new()
    local special_at = #ARGV - 6 * special + 1
    local count = 0
    for i = task_at, special_at - 1, 2 do
      if not exists(ARGV[i]) then count = count + 1 end
    end
    for i = special_at, #ARGV, 6 do
      if not exists(ARGV[i]) and not holder_of(ARGV[i + 4], ARGV[i], now) then count = count + 1 end
    end
    return count
  end

  unusual = {exists = exists, count_new = count_new, holder_of = holder_of, admit = admit}
end

local room = math.huge
if ARGV[7] ~= '' then
  local waiting = redis.call('ZCARD', DUE) + (redis.call('HGET', STATS, 'later') or 0) + redis.call('ZCARD', PARKED)
  for i = FIRST_LIST, LAST_LIST do waiting = waiting + redis.call('LLEN', KEYS[i]) - ghosts_in(KEYS[i]) end
  room = math.max(ARGV[7] - waiting, 0)
  local new = unusual and unusual.count_new() or (#ARGV - task_at + 1) / 2
  if ARGV[8] == '1' and new > room then
    return {'full', now, waiting, redis.call('HMGET', STATS, 'completed', 'mark', 'mark_ms')}
  end
end

local added, left_out, standing = 0, {}, {}

-- Stores the tasks from `task_at` on, at most 1000 of them, in a hash, and returns the ids of those that are new, with
-- their places in ARGV.
local function store(count, hash)
  local ids, places = {}, {}
  for i = task_at, task_at + 2 * count - 2, 2 do
    if unusual and unusual.exists(ARGV[i]) then
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
  return ids, places
end

local runnable, was_empty = 0, false
for level = 1, LEVELS do
  for _ = 1, tonumber(ARGV[12 + level]) do
    local count, shelf = tonumber(ARGV[run_at]), tonumber(ARGV[run_at + 1])
    local hash = shelf > 0 and KEYS[first_shelf + shelf - 1] or TASKS
    run_at = run_at + 2
    while count > 0 do
      local ids = store(math.min(count, 1000), hash)
      count = count - 1000
      if #ids > 0 then
        if shelf > 0 then redis.call('HSETNX', SHELVES, string.sub(hash, -9), text(now)) end
        was_empty = append_to(KEYS[LAST_LIST - LEVELS + level], ids) or was_empty
        runnable = runnable + #ids
      end
    end
  end
end
local before, tell_sleepers
if ARGV[4] == '1' and soon + special > 0 then
  include 'sooner'
  before, tell_sleepers = first_due(), wake_if_sooner
end
local first = task_at
for _ = 1, soon do
  local ids, places = store(1, TASKS)
  if ids[1] then redis.call('ZADD', DUE, text(now + ARGV[delay_at + (places[1] - first) / 2]), ids[1]) end
end
for span = 1, spans do
  local count, key = tonumber(ARGV[12 + LEVELS + span]), KEYS[LAST_LIST + span]
  while count > 0 do
    local ids = store(math.min(count, 1000), TASKS)
    count = count - 1000
    if #ids > 0 then
      redis.call('RPUSH', key, unpack(ids))
      local number = string.match(key, '[^:]*$')
      if redis.call('ZADD', LATER, number, number) == 1 then redis.call('HSET', LATERGHOSTS, number, '0') end
      redis.call('HINCRBY', STATS, 'later', text(#ids))
    end
  end
end
for i = task_at, task_at + 6 * (special - 1), 6 do
  local id = ARGV[i]
  local holder = unusual.holder_of(ARGV[i + 4], id, now)
  if unusual.exists(id) then
    -- Nothing to do.
  elseif holder then
    standing[#standing + 1], standing[#standing + 2] = id, holder
  elseif room < 1 then
    left_out[#left_out + 1] = id
  else
    local now_runnable, first_one =
      unusual.admit(id, ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 5], now)
    room, added = room - 1, added + 1
    if now_runnable then runnable = runnable + 1 end
    was_empty = was_empty or first_one
  end
end

if added > 0 then redis.call('HINCRBY', STATS, 'enqueued', text(added)) end
if ARGV[4] == '1' then
  if tell_sleepers then tell_sleepers(before) end
  wake(runnable)
end
if was_empty then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return {'ok', now, left_out, standing}
