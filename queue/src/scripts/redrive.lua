-- Dead letters back to the tails of their levels, with all their attempts before them and their history kept. One whose
-- unique key another task has stays; the others take theirs again.
-- `before`: only deaths at this time in ms or before, '' for now; `most` to move; `wakes` '1' to wake workers; `channel` where to
-- announce `queue`, its name; `skip` how many of the oldest to pass over; `longest_key` how long a unique key can be held at
-- most, in ms. REST: ids, or none for all
-- returns {'stale'} with nothing done, or {'ok', now ms, moved, how many of those chosen stay, of those that stay for
--         their unique keys pairs of the id and that of the task that has the key}; the others cannot be read
include 'current'
include 'layout'
include 'wake'
include 'levels'
include 'ahead'
include 'letters'
include 'edit'
include 'holder'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
bring_back(DEAD, now)
local chosen = letters(before ~= '' and before or text(now), skip, most)
if #chosen == 0 then return {'ok', now, 0, 0, {}} end
local found = redis.call('HMGET', TASKS, unpack(chosen))
local ids, records, standing = {}, {}, {}

-- As if it were enqueued now; it does not expire any more.
local function begin_anew(body)
  body[2], body[4] = now, 0
  if type(body[6]) == 'table' then body[6][1], body[6][4] = 0, 0 end
end

for i, id in ipairs(chosen) do
  local _, unique = extras_of(found[i] or '')
  local holder = holder_of(unique, id, now)
  if holder then
    standing[#standing + 1], standing[#standing + 2] = id, holder
  elseif found[i] and edit(id, found[i], begin_anew) then
    -- For how long it was to have it nobody knows any more: until it ends.
    take_key(unique, id, now + longest_key)
    ids[#ids + 1], records[#records + 1] = id, found[i]
  end
end
if #ids == 0 then return {'ok', now, 0, #chosen, standing} end
redis.call('ZREM', DEAD, unpack(ids))
redis.call('HDEL', LOST, unpack(ids))
redis.call('HINCRBY', STATS, 'redriven', text(#ids))
local appended, was_empty = append(ids, records)
if wakes == '1' then wake(appended) end
if was_empty then redis.call('PUBLISH', channel, queue) end
if live then
  include 'tell'
  for i, id in ipairs(ids) do tell('redriven', id, '', '', '', records[i]) end
  flush()
end
return {'ok', now, #ids, #chosen - #ids, standing}
