-- Ends tasks that do not run: cancelled, or not started in time.
-- KEYS  the done buckets of the tasks
-- `ending` is what they end as: 'cancelled' or 'expired'; `retention` how long done records are kept, in ms; `marks` '1' to mark
-- one that runs to be cancelled.
-- REST: four for each task: id, its record as the caller knows it, its done record, place of its bucket
-- returns {'stale'} with nothing done, or {'ok', now ms, for each task: 'removed', 'active' when it runs, 'changed'
--         when its record is another one, or 'gone'}
include 'current'
include 'layout'
include 'end'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local removed, fates = 0, {}
local news = live and {}

-- Takes it out of wherever it is; whether it may hold a place of its concurrency key.
local function take_out(id, record)
  if redis.call('ZREM', DUE, id) == 1 then return false end
  local _, _, key = extras_of(record)
  if key ~= '' and redis.call('ZREM', PARKED, key .. '\0' .. id) == 1 then return false end
  local list = list_of(record) or KEYS[LAST_LIST]
  redis.call('HINCRBY', GHOSTS, string.match(list, '[^:]*$'), '1')
  return true
end

for i = REST, #ARGV, 4 do
  local id, known, done = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local record = record_of(id)
  local fate
  if not record or redis.call('ZSCORE', DEAD, id) then
    redis.call('SREM', CANCEL, id)
    fate = 'gone'
  elseif redis.call('HEXISTS', ACTIVE, id) == 1 then
    if marks == '1' then redis.call('SADD', CANCEL, id) end
    fate = 'active'
  elseif record ~= known then
    fate = 'changed'
  else
    finish(id, record, take_out(id, record), KEYS[LAST_LIST + ARGV[i + 3]], done, retention, now)
    removed = removed + 1
    if live then news[#news + 1] = i end
    fate = 'removed'
  end
  fates[#fates + 1] = fate
end
if removed > 0 then redis.call('HINCRBY', STATS, ending, text(removed)) end
if live then
  include 'tell'
  for _, i in ipairs(news) do tell(ending, ARGV[i], '', '', '', ARGV[i + 2]) end
  flush()
end
return {'ok', now, fates}
