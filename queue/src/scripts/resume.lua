-- What a worker holds without knowing it: tasks leased by an exchange whose reply was lost.
-- KEYS  shared
-- ARGV  3 worker; 4 most to return; then the ids it knows of
-- returns {'ok', now ms, ids, records, losses}, where a record that is missing may lie on a shelf, or {'lapsed', now ms} when it is not registered
local now = now_ms()
local me, limit = ARGV[3], tonumber(ARGV[4])
if not redis.call('ZSCORE', WORKERS, me) then return {'lapsed', now} end
local known = {}
for i = 5, #ARGV do known[ARGV[i]] = true end

-- Proportional to what is in flight, and only after a lost reply.
local held, ids = redis.call('HGETALL', ACTIVE), {}
for i = 1, #held, 2 do
  if held[i + 1] == me and not known[held[i]] and #ids < limit then ids[#ids + 1] = held[i] end
end
if #ids == 0 then return {'ok', now, ids, {}, {}} end
table.sort(ids)
return {'ok', now, ids, redis.call('HMGET', TASKS, unpack(ids)), redis.call('HMGET', LOST, unpack(ids))}
