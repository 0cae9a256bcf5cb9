-- What a worker holds without knowing it: tasks leased by an exchange whose reply was lost, or taken over from others.
-- KEYS  the shelves that an answer asked for
-- ARGV  3 worker; 4 most tasks to return; 5 bytes of records after which no more are; then the ids it knows of
-- returns {'lapsed', now ms} when it is not registered, or {'ok', now ms, names of shelves that are to be declared, ids,
--         records, '' for one that is missing, losses}; if there are such names, no tasks
include 'stored'

local now = now_ms()
local me, limit, room = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if not redis.call('ZSCORE', WORKERS, me) then return {'lapsed', now} end
local known = {}
for i = 6, #ARGV do known[ARGV[i]] = true end

-- Proportional to what is in flight, and only after a lost reply or a lost worker.
local held, all = redis.call('HGETALL', ACTIVE), {}
for i = 1, #held, 2 do
  if held[i + 1] == me and not known[held[i]] and #all < limit then all[#all + 1] = held[i] end
end
if #all == 0 then return {'ok', now, {}, {}, {}, {}} end
table.sort(all)

declare_shelves(LAST_LIST + 1, #KEYS)
local names, named, ids, records = {}, {}, {}, {}
for _, id in ipairs(all) do
  local record, name = record_of(id), string.sub(id, 1, 9)
  if record == false and not named[name] then names[#names + 1], named[name] = name, true end
  if record ~= false and room > 0 then
    ids[#ids + 1], records[#records + 1] = id, record or ''
    room = room - #(record or '')
  end
end
if #names > 0 then return {'ok', now, names, {}, {}, {}} end
return {'ok', now, {}, ids, records, redis.call('HMGET', LOST, unpack(ids))}
