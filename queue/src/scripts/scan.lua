-- The fields of a large hash, a bounded number at a time: ids of running tasks, names of buckets of done records, or the ids in those.
-- What is there from the first call to the last is returned at least once.
-- KEYS  for 'ended' the buckets
-- `what` is 'active', 'kept' or 'ended'; `from` where to go on in the hash, '0' for its beginning
-- returns {'ok', now ms, fields, where to go on in the last hash that was looked at, '0' if that is done, how many of KEYS were looked at}
local MOST, SLICE = 5000, '500'

local function fields_of(hash)
  if from == '0' and redis.call('HLEN', hash) <= MOST then return redis.call('HKEYS', hash), '0' end
  local part, fields = redis.call('HSCAN', hash, from, 'COUNT', SLICE), {}
  for i = 1, #part[2], 2 do fields[#fields + 1] = part[2][i] end
  return fields, part[1]
end

if what ~= 'ended' then
  local fields, on = fields_of(what == 'active' and ACTIVE or KEPTCOUNT)
  return {'ok', now_ms(), fields, on, 0}
end
local ids, on, looked = {}, '0', 0
for i = LAST_LIST + 1, #KEYS do
  local fields
  fields, on = fields_of(KEYS[i])
  for _, id in ipairs(fields) do ids[#ids + 1] = id end
  -- In the next one from its beginning.
  looked, from = looked + 1, '0'
  if on ~= '0' or #ids >= 1000 then break end
end
return {'ok', now_ms(), ids, on, looked}
