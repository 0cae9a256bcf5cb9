-- A page of the tasks in one state.
-- `state` is 'waiting', 'scheduled', 'active', 'dead', 'parked' or 'ended'; `skip` and `limit` how many to skip and to return;
-- `level` for 'waiting' the place of the level's list
-- returns {'ok', now ms, ids, for each its due time, worker or time of death or '', records, losses}
--         for 'ended': {'ok', now ms, names of buckets, newest first, their numbers of records, how many of the first to skip}
include 'layout'
include 'stored'

local from, most = tonumber(skip), tonumber(limit)
local first, last = text(from), text(from + most - 1)
local ids, extras = {}, {}

if state == 'ended' then
  local names, counts, at, wanted = {}, {}, 0, from + most
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
  return {'ok', now_ms(), names, counts, from}
elseif state == 'waiting' then
  ids = redis.call('LRANGE', KEYS[FIRST_LIST + level], first, last)
elseif state == 'active' then
  local all = redis.call('HKEYS', ACTIVE)
  table.sort(all)
  for i = from + 1, math.min(from + most, #all) do
    ids[#ids + 1], extras[#extras + 1] = all[i], redis.call('HGET', ACTIVE, all[i])
  end
elseif state == 'parked' then
  for i, member in ipairs(redis.call('ZRANGE', PARKED, first, last)) do ids[i] = string.sub(member, -20) end
else
  local page
  if state == 'dead' then
    page = redis.call('ZREVRANGE', DEAD, first, last, 'WITHSCORES')
  else
    page = redis.call('ZRANGE', DUE, first, last, 'WITHSCORES')
  end
  for i = 1, #page, 2 do
    ids[#ids + 1], extras[#extras + 1] = page[i], page[i + 1]
  end
end
if #ids == 0 then return {'ok', now_ms(), {}, {}, {}, {}} end
for i = #extras + 1, #ids do extras[i] = '' end
local records = redis.call('HMGET', TASKS, unpack(ids))
for i, id in ipairs(ids) do records[i] = records[i] or record_of(id) end
return {'ok', now_ms(), ids, extras, records, redis.call('HMGET', LOST, unpack(ids))}
