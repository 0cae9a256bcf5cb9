-- The first tasks of one state that do not run, for who wants to end them. What it meets on the way whose task is gone leaves its
-- place, so that the next call begins with a task.
-- `state` is 'waiting', 'blocked' or 'scheduled'; `most` how many to return; `room` bytes of records after which no more are
-- returns {'stale'} with nothing done, or {'ok', now ms, ids, records, '1' if there may be more}
include 'current'
include 'layout'
include 'laid'
include 'ghosts'
include 'stored'

if not current() then return {'stale'} end
local now, wanted, left = now_ms(), tonumber(most), tonumber(room)
local ids, records = {}, {}
-- How many places of tasks that are gone one call clears.
local patience = 2000

local function take(id, record)
  ids[#ids + 1], records[#records + 1] = id, record
  left = left - #record
end

local function is_full() return #ids >= wanted or left <= 0 end

-- From the head of a list, behind the ghosts there.
local function of_list(list)
  local gone = {}
  local id = redis.call('LINDEX', list, '0')
  while id and #gone < patience and not record_of(id) do
    redis.call('LPOP', list)
    gone[#gone + 1] = id
    id = redis.call('LINDEX', list, '0')
  end
  patience = patience - #gone
  if #gone > 0 then lay(list, gone) end
  for _, listed in ipairs(redis.call('LRANGE', list, '0', text(wanted - #ids - 1))) do
    local record = not is_full() and record_of(listed)
    if record then take(listed, record) end
  end
end

-- From the front of a sorted set, whose members end with ids.
local function of_set(set)
  local gone = 0
  for _, member in ipairs(redis.call('ZRANGE', set, '0', text(wanted - 1))) do
    if is_full() then break end
    local id = string.sub(member, -20)
    local record = record_of(id)
    if record then
      take(id, record)
    else
      redis.call('ZREM', set, member)
      gone = gone + 1
    end
  end
  count_missing(gone)
end

local more = false
if state == 'waiting' then
  for i = FIRST_LIST, LAST_LIST do
    if not is_full() and patience > 0 then of_list(KEYS[i]) end
    if redis.call('EXISTS', KEYS[i]) == 1 then more = true end
  end
else
  local set = state == 'blocked' and PARKED or DUE
  of_set(set)
  more = redis.call('EXISTS', set) == 1
end
return {'ok', now, ids, records, more and '1' or '0'}
