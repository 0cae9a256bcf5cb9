-- Dead letters back to the tails of their levels, with all their attempts before them and their history kept. One whose
-- unique key another task has stays; the others take theirs again.
-- ARGV  3 only deaths at this time in ms or before, '' for now; 4 most to move; 5 '1' to wake workers
--       6 channel to announce on; 7 the queue's name; 8 how many of the oldest to pass over; 9 how long a unique key can be
--       held at most, in ms; then ids, or none for all
-- returns {'stale'} with nothing done, or {'ok', now ms, moved, how many of those chosen stay, of those that stay for
--         their unique keys pairs of the id and that of the task that has the key}; the others cannot be read
include 'current'
include 'wake'
include 'levels'
include 'ahead'
include 'letters'
include 'edit'
include 'holder'

if not current() then return {'stale'} end
local now = now_ms()
bring_back(DEAD, now)
local chosen = letters(10, ARGV[3] ~= '' and ARGV[3] or text(now), ARGV[8], ARGV[4])
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
    take_key(unique, id, now + ARGV[9])
    ids[#ids + 1], records[#records + 1] = id, found[i]
  end
end
if #ids == 0 then return {'ok', now, 0, #chosen, standing} end
redis.call('ZREM', DEAD, unpack(ids))
redis.call('HDEL', LOST, unpack(ids))
redis.call('HINCRBY', STATS, 'redriven', text(#ids))
local appended, was_empty = append(ids, records)
if ARGV[5] == '1' then wake(appended) end
if was_empty then redis.call('PUBLISH', ARGV[6], ARGV[7]) end
return {'ok', now, #ids, #chosen - #ids, standing}
