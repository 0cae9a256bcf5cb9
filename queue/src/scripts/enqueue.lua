-- Enqueues a batch, whole or not at all.
-- KEYS  shared; then, for a repeated call only, the done buckets of the ids
-- ARGV  3 '1' when the call repeats one whose reply was lost: ids that exist are passed over
--       4 '1' to wake workers (not while the queue is paused); 5 channel to announce on; 6 the queue's name
--       7 number of delayed tasks; 8.. for each level list its number of tasks
--       then the delays in ms, then for each task its id and record: level by level, the delayed ones last
-- returns {'stale'} with nothing done, or {'ok', now ms}
if not current() then return {'stale'} end
local now = now_ms()
local repeated = ARGV[3] == '1'
local delayed = tonumber(ARGV[7])
local delay_at = 8 + LEVELS
local task_at = delay_at + delayed

local buckets = {}
for i = LAST_LIST + 1, #KEYS do buckets[string.match(KEYS[i], '[^:]*$')] = KEYS[i] end

local function exists(id)
  local bucket = buckets[string.sub(id, 1, 9)]
  return redis.call('HEXISTS', TASKS, id) == 1 or (bucket and redis.call('HEXISTS', bucket, id) == 1)
end

-- Stores the next `count` tasks and returns the ids of those that are new, with their places in ARGV.
local function store(count)
  local ids, places = {}, {}
  for i = task_at, task_at + 2 * count - 2, 2 do
    if not (repeated and exists(ARGV[i])) then
      ids[#ids + 1], places[#places + 1] = ARGV[i], i
    end
  end
  if #ids == count then
    redis.call('HSET', TASKS, unpack(ARGV, task_at, task_at + 2 * count - 1))
  else
    for _, i in ipairs(places) do redis.call('HSET', TASKS, ARGV[i], ARGV[i + 1]) end
  end
  local first = task_at
  task_at = task_at + 2 * count
  return ids, places, first
end

local runnable, added, was_empty = 0, 0, false
for level = 1, LEVELS do
  local count = tonumber(ARGV[7 + level])
  if count > 0 then
    local ids = store(count)
    if #ids > 0 then
      local length = redis.call('RPUSH', KEYS[11 + level], unpack(ids))
      was_empty = was_empty or length == #ids
      runnable = runnable + #ids
    end
  end
end
if delayed > 0 then
  local before = first_due()
  local ids, places, first = store(delayed)
  for i, id in ipairs(ids) do
    redis.call('ZADD', DUE, now + ARGV[delay_at + (places[i] - first) / 2], id)
  end
  added = #ids
  if ARGV[4] == '1' then wake_if_sooner(before) end
end
added = added + runnable
if added > 0 then redis.call('HINCRBY', STATS, 'enqueued', added) end
if ARGV[4] == '1' then wake(runnable) end
if was_empty then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return {'ok', now}
