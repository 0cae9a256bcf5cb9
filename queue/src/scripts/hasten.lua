-- Makes scheduled tasks runnable at once, those that are to be retried as well.
-- `wakes` is '1' to wake workers; `channel` where to announce `queue`, its name. REST: ids
-- returns {'stale'} with nothing done, or {'ok', now ms, for each task: 'done', 'blocked' when it waits for its concurrency key
--         now; of one that is not scheduled 'active', 'dead' or 'unchanged', as it waits already; 'gone' without a record}
include 'current'
include 'layout'
include 'wake'
include 'levels'
include 'stored'
include 'numbers'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local fates, runnable, was_empty = {}, 0, false
local news = live and {}

local function state_of(id)
  if redis.call('HEXISTS', ACTIVE, id) == 1 then return 'active' end
  return redis.call('ZSCORE', DEAD, id) and 'dead' or 'unchanged'
end

local function hasten(id)
  local record = record_of(id)
  if not record then return 'gone' end
  if not redis.call('ZSCORE', DUE, id) then return state_of(id) end
  record = runnable_from(record, now) or record
  rewrite(id, record)
  local appended, first_one = append({id}, {record})
  redis.call('ZREM', DUE, id)
  runnable, was_empty = runnable + appended, first_one or was_empty
  if live then news[#news + 1] = {id, record} end
  return appended == 1 and 'done' or 'blocked'
end

for i = REST, #ARGV do fates[#fates + 1] = hasten(ARGV[i]) end
if live then
  include 'tell'
  for _, one in ipairs(news) do tell('due', one[1], '', '', '', one[2]) end
  flush()
end
if wakes == '1' then wake(runnable) end
if was_empty then redis.call('PUBLISH', channel, queue) end
return {'ok', now, fates}
