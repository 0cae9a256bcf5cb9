-- A page of dead letters, the newest first.
-- KEYS  shared
-- ARGV  3 how many to skip; 4 how many to return, at most 1000
-- returns {'ok', ids, times of death in ms, records, losses}
local from = tonumber(ARGV[3])
local page = redis.call('ZREVRANGE', DEAD, from, from + ARGV[4] - 1, 'WITHSCORES')
if #page == 0 then return {'ok', {}, {}, {}, {}} end
local ids, died = {}, {}
for i = 1, #page, 2 do
  ids[#ids + 1], died[#died + 1] = page[i], page[i + 1]
end
return {'ok', ids, died, redis.call('HMGET', TASKS, unpack(ids)), redis.call('HMGET', LOST, unpack(ids))}
