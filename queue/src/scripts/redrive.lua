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
include 'ahead'
include 'letters'
include 'revive'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
bring_back(DEAD, now)
local chosen = letters(before ~= '' and before or text(now), skip, most)
if #chosen == 0 then return {'ok', now, 0, 0, {}} end
local found = redis.call('HMGET', TASKS, unpack(chosen))
local ids, records, standing = {}, {}, {}
for i, id in ipairs(chosen) do
  local moves, holder = false, nil
  if found[i] then
    moves, holder = revive(id, found[i], now, longest_key)
  end
  if moves then
    ids[#ids + 1], records[#records + 1] = id, found[i]
  elseif holder then
    standing[#standing + 1], standing[#standing + 2] = id, holder
  end
end
if #ids == 0 then return {'ok', now, 0, #chosen, standing} end
local appended, was_empty = send_round(ids, records)
if wakes == '1' then wake(appended) end
if was_empty then redis.call('PUBLISH', channel, queue) end
if live then
  include 'tell'
  for i, id in ipairs(ids) do tell('redriven', id, '', '', '', records[i]) end
  flush()
end
return {'ok', now, #ids, #chosen - #ids, standing}
