-- A part of the tasks in one state, as they stand at this very call, from where a listing is on.
-- KEYS  for 'ended' the done buckets of the ids
-- `state` is 'waiting', 'parked', 'scheduled', 'dead', 'active' or 'ended'; `most` how many entries to look at; `room` bytes of records
-- to return: once there are as many, no more; `largest` most bytes that a record can have. Where to go on, '' for the beginning:
--       'waiting', in the list at the place `level`: behind the first id of REST; behind it stand those that were looked at before,
--       the last one first. `anchor` was the last of the list then, and so many entries were `ahead`, that one included
--       'scheduled' and 'dead': behind `member` with `score`; 'parked': behind `member`
--       'active' and 'ended': REST: the ids to look at
-- returns {'lost', now ms} if that place in the list cannot be found any more, or {'ok', now ms, entries, for each its due time, time of
--         death, worker or '', its record, its losses; 1 if there are more; for 'waiting' the last id of the list, how many
--         entries there are from the first of these to that}. An entry that is in that state no more has no record
include 'layout'
include 'shelves'

local now, limit = now_ms(), tonumber(most)
local entries, extras, more = {}, {}, false
local last_id, behind = '', 0

if state == 'waiting' then
  include 'whereabouts'
  local first, last = next_in(KEYS[FIRST_LIST + level])
  if not first then return {'lost', now} end
  if first <= last then
    entries = redis.call('LRANGE', KEYS[FIRST_LIST + level], text(first), text(first + limit - 1))
    more = first + #entries <= last
    last_id, behind = redis.call('LINDEX', KEYS[FIRST_LIST + level], '-1'), last - first + 1
  end
elseif state == 'parked' then
  entries = redis.call('ZRANGEBYLEX', PARKED, member == '' and '-' or '(' .. member, '+', 'LIMIT', '0', most)
  more = #entries == limit
elseif state == 'scheduled' or state == 'dead' then
  include 'rank'
  local found
  if state == 'scheduled' then
    local first = score == '' and 0 or rank_of(DUE, score, member, true)
    found = redis.call('ZRANGE', DUE, text(first), text(first + limit - 1), 'WITHSCORES')
  else
    local first = score == '' and 0 or redis.call('ZCARD', DEAD) - rank_of(DEAD, score, member, false)
    found = redis.call('ZREVRANGE', DEAD, text(first), text(first + limit - 1), 'WITHSCORES')
  end
  for i = 1, #found, 2 do entries[#entries + 1], extras[#extras + 1] = found[i], found[i + 1] end
  more = #entries == limit
else
  for i = REST, #ARGV do entries[#entries + 1] = ARGV[i] end
end
if #entries == 0 then return {'ok', now, {}, {}, {}, {}, 0, '', 0} end

local ids, buckets, workers = {}, {}, {}
for i, entry in ipairs(entries) do ids[i] = state == 'parked' and string.sub(entry, -20) or entry end
for i = LAST_LIST + 1, #KEYS do buckets[string.sub(KEYS[i], -9)] = KEYS[i] end
if state == 'waiting' or state == 'active' then workers = redis.call('HMGET', ACTIVE, unpack(ids)) end

-- Those that came together lie on the same shelf.
local shelf_name, shelf = '', nil
local function record_near(id)
  local name = string.sub(id, 1, 9)
  if name ~= shelf_name then
    shelf_name, shelf = name, shelf_of(name)
  end
  return shelf and redis.call('HGET', shelf, id) or redis.call('HGET', TASKS, id)
end

-- The record of a task that is in the state.
local function record_in_state(i)
  if state == 'ended' then
    local bucket = buckets[string.sub(ids[i], 1, 9)]
    return bucket and redis.call('HGET', bucket, ids[i])
  end
  -- One that runs is not waiting.
  if state == 'active' and not workers[i] or state == 'waiting' and workers[i] then return false end
  return record_near(ids[i])
end

local records, left, most_bytes = {}, tonumber(room), tonumber(largest)
for i = 1, #entries do
  if left <= 0 then
    more = true
    for j = #entries, i, -1 do entries[j], extras[j], ids[j] = nil, nil, nil end
    break
  end
  local record = record_in_state(i)
  -- What others have written may be of any size, and is none of ours.
  if record and #record > most_bytes then record = '' end
  left = left - (record and #record or 0)
  records[i] = record or false
  extras[i] = extras[i] or state == 'active' and workers[i] or ''
end
return {'ok', now, entries, extras, records, redis.call('HMGET', LOST, unpack(ids)), more and 1 or 0, last_id, behind}
