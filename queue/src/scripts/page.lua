-- A page of the tasks in one state.
-- ARGV  3 'waiting', 'scheduled', 'active', 'dead', 'parked' or 'ended'; 4 how many to skip; 5 how many to return
--       6 for 'waiting' the place of the level's list
-- returns {'ok', ids, for each its due time, worker or time of death or '', records, losses}; a record that is missing
--         may lie on a shelf
--         for 'ended': {'ok', names of buckets, newest first, their numbers of records, how many of the first to skip}
local from, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local first, last = text(from), text(from + limit - 1)
local ids, extras = {}, {}

if ARGV[3] == 'ended' then
  local names, counts, at, wanted = {}, {}, 0, from + limit
  while wanted > 0 do
    local some = redis.call('ZREVRANGE', KEPT, text(at), text(at + 99))
    if #some == 0 then break end
    at = at + #some
    for i, count in ipairs(redis.call('HMGET', KEPTCOUNT, unpack(some))) do
      count = tonumber(count or 0)
      if from >= count and #names == 0 then
        from = from - count
      elseif wanted > 0 then
        names[#names + 1], counts[#counts + 1] = some[i], count
      end
      wanted = wanted - count
    end
  end
  return {'ok', names, counts, from}
elseif ARGV[3] == 'waiting' then
  ids = redis.call('LRANGE', KEYS[FIRST_LIST + ARGV[6]], first, last)
elseif ARGV[3] == 'active' then
  local all = redis.call('HKEYS', ACTIVE)
  table.sort(all)
  for i = from + 1, math.min(from + limit, #all) do
    ids[#ids + 1], extras[#extras + 1] = all[i], redis.call('HGET', ACTIVE, all[i])
  end
elseif ARGV[3] == 'parked' then
  for i, member in ipairs(redis.call('ZRANGE', PARKED, first, last)) do ids[i] = string.sub(member, -20) end
else
  local page
  if ARGV[3] == 'dead' then
    page = redis.call('ZREVRANGE', DEAD, first, last, 'WITHSCORES')
  else
    page = redis.call('ZRANGE', DUE, first, last, 'WITHSCORES')
  end
  for i = 1, #page, 2 do
    ids[#ids + 1], extras[#extras + 1] = page[i], page[i + 1]
  end
end
if #ids == 0 then return {'ok', {}, {}, {}, {}} end
for i = #extras + 1, #ids do extras[i] = '' end
return {'ok', ids, extras, redis.call('HMGET', TASKS, unpack(ids)), redis.call('HMGET', LOST, unpack(ids))}
