-- Moves a task that does not run to another level: to the tail of its list, if the task is in one. Where in a list it is must be
-- looked for, in a bounded part of it.
-- `id` is the task's; `level` the place of the new level's list; `depth` how many ids to look at from each end of the list
-- returns {'stale'} with nothing done, or {'ok', now ms, what}: 'done'; 'unchanged' when it has that level; and with nothing done
--         'active' when it runs, 'deep' when it is not that near to an end of its list, 'gone' without a record
include 'current'
include 'layout'
include 'levels'
include 'stored'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local record = record_of(id)
local from, mark
if record then from, mark = list_of(record) end
if not mark then return {'ok', now, 'gone'} end
if redis.call('HEXISTS', ACTIVE, id) == 1 then return {'ok', now, 'active'} end
local to = KEYS[FIRST_LIST + level]
if from == to then return {'ok', now, 'unchanged'} end
from = from or KEYS[LAST_LIST]

local function is_listed()
  if redis.call('ZSCORE', DUE, id) or redis.call('ZSCORE', DEAD, id) then return false end
  local _, _, key = extras_of(record)
  return key == '' or not redis.call('ZSCORE', PARKED, key .. '\0' .. id)
end

local listed = is_listed()
if listed then
  -- From which end: to remove it there takes no longer than to find it.
  local side
  if redis.call('LPOS', from, id, 'MAXLEN', depth) then
    side = '1'
  elseif redis.call('LPOS', from, id, 'RANK', '-1', 'MAXLEN', depth) then
    side = '-1'
  else
    return {'ok', now, 'deep'}
  end
  redis.call('LREM', from, side, id)
end
record = string.match(to, '[^:]*$') .. string.sub(record, mark)
rewrite(id, record)
if live then
  include 'tell'
  tell('edited', id, '', '', '', record)
  flush()
end
-- It keeps its place of its concurrency key.
if listed then append_to(to, {id}) end
return {'ok', now, 'done'}
