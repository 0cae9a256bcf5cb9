-- What a worker holds without knowing it: tasks leased by an exchange whose reply was lost, or taken over from others.
-- `most` is how many tasks to return; `room` bytes of records after which no more are. REST: the ids that it knows of
-- returns {'lapsed', now ms} when it is not registered, or {'ok', now ms, ids, records, '' for one that is missing, losses}
include 'layout'
include 'stored'

local now = now_ms()
local limit, left = tonumber(most), tonumber(room)
if not redis.call('ZSCORE', WORKERS, worker) then return {'lapsed', now} end
local known = {}
for i = REST, #ARGV do known[ARGV[i]] = true end

-- Proportional to what is in flight, and only after a lost reply or a lost worker.
local held, all = redis.call('HGETALL', ACTIVE), {}
for i = 1, #held, 2 do
  if held[i + 1] == worker and not known[held[i]] and #all < limit then all[#all + 1] = held[i] end
end
if #all == 0 then return {'ok', now, {}, {}, {}} end
table.sort(all)

local ids, records = {}, {}
for _, id in ipairs(all) do
  if left <= 0 then break end
  local record = record_of(id) or ''
  ids[#ids + 1], records[#records + 1] = id, record
  left = left - #record
end
return {'ok', now, ids, records, redis.call('HMGET', LOST, unpack(ids))}
