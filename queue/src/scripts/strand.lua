-- Puts back tasks that lie nowhere: their records are there, and what held their ids is gone from the server: a list, the
-- leases, the times of those that are scheduled. Looks at a bounded number at a time, and goes on where it was.
-- KEYS  every shelf
-- ARGV  3 '1' to wake workers; 4 channel to announce on; 5 the queue's name; 6 about how many records to look at
--       7 most ids in the lists: as long as there are more it only counts; 8 how long tasks must have lain nowhere, in ms:
--       some may still run whose leases are lost; 9 length of a span in ms (see later.rs); 10 most attempts; 11 losses a
--       task may have
-- returns {'stale'} with nothing done, or {'ok', now ms, 1 if there are more records to look at, how many tasks lie nowhere
--         when it begins, how many it put back}
include 'current'
include 'wake'
include 'levels'
include 'missing'

if not current() then return {'stale'} end
local now = now_ms()
local first_shelf = LAST_LIST + 1
declare_shelves(first_shelf, #KEYS)

-- How many records there are for which there is no place; 0 if that cannot be told.
local function nowhere()
  local later = tonumber(redis.call('HGET', STATS, 'later') or '')
  if redis.call('EXISTS', LATER) == 0 then later = 0 end
  if not later or redis.call('HLEN', SHELVES) ~= #KEYS - LAST_LIST then return 0 end
  local count = redis.call('HLEN', TASKS)
  for i = first_shelf, #KEYS do count = count + redis.call('HLEN', KEYS[i]) end
  for i = FIRST_LIST, LAST_LIST do count = count - math.max(redis.call('LLEN', KEYS[i]) - ghosts_in(KEYS[i]), 0) end
  local others = redis.call('ZCARD', DUE) + redis.call('ZCARD', DEAD) + redis.call('ZCARD', PARKED)
  return math.max(count - others - later - redis.call('HLEN', ACTIVE), 0)
end

local from, count = redis.call('HGET', CONFIG, 'adrift_at'), 0
if not from or #from > 19 or not string.find(from, '^s?%d+$') then
  for i = first_shelf, #KEYS do sweep(string.sub(KEYS[i], -9)) end
  count = nowhere()
  local since = tonumber(redis.call('HGET', CONFIG, 'adrift_ms') or '')
  if count == 0 then
    if since then redis.call('HDEL', CONFIG, 'adrift_ms') end
    return {'ok', now, 0, 0, 0}
  end
  if not since or since > now then
    since = now
    redis.call('HSET', CONFIG, 'adrift_ms', text(now))
  end
  if now - since < tonumber(ARGV[8]) then return {'ok', now, 0, count, 0} end
  from = '0'
end
local waiting = 0
for i = FIRST_LIST, LAST_LIST do waiting = waiting + redis.call('LLEN', KEYS[i]) end
if waiting > tonumber(ARGV[7]) then return {'ok', now, 0, count, 0} end

local listed = {}
for i = FIRST_LIST, LAST_LIST do
  for _, id in ipairs(redis.call('LRANGE', KEYS[i], '0', '-1')) do listed[id] = true end
end

-- The records of one part, id and record by turns, and where the next part begins, if there is one: first those in TASKS,
-- then shelf by shelf.
local function part()
  local place = tonumber(string.match(from, '^s(%d+)$') or '')
  if place then
    local found = KEYS[first_shelf + place] and redis.call('HGETALL', KEYS[first_shelf + place]) or {}
    return found, first_shelf + place < #KEYS and 's' .. text(place + 1) or nil
  end
  local page = redis.call('HSCAN', TASKS, from, 'COUNT', ARGV[6])
  if page[1] ~= '0' then return page[2], page[1] end
  return page[2], first_shelf <= #KEYS and 's0' or nil
end

-- What is no id of ours is left alone.
local function lies_somewhere(id, record, body)
  if #id ~= 20 or string.find(id, '[^0-9a-v]') then return true end
  if listed[id] or redis.call('HEXISTS', ACTIVE, id) == 1 then return true end
  if redis.call('ZSCORE', DUE, id) or redis.call('ZSCORE', DEAD, id) then return true end
  local _, _, key = extras_of(record)
  if key ~= '' and redis.call('ZSCORE', PARKED, key .. '\0' .. id) then return true end
  return body and redis.call('ZSCORE', LATER, text(math.floor(body[2] / ARGV[9])))
end

local back, runnable, was_empty = 0, 0, false

-- Where it must have been: what can be told from the record, its losses and its place of a concurrency key.
local function put_back(id, record, body)
  local losses = tonumber(redis.call('HGET', LOST, id) or 0) or 0
  -- Its own, if it has some (see record/overrides.rs).
  local own = body and type(body[6]) == 'table' and type(body[6][7]) == 'table' and tonumber(body[6][7][1]) or 0
  if body and body[4] >= (own > 0 and own or tonumber(ARGV[10])) or losses > tonumber(ARGV[11]) then
    redis.call('ZADD', DEAD, text(now), id)
  elseif body and body[2] > now then
    redis.call('ZADD', DUE, text(body[2]), id)
  elseif redis.call('HEXISTS', HOLDERS, id) == 1 then
    was_empty = append_to(list_for(id, record), {id}) or was_empty
    runnable = runnable + 1
  else
    local appended, first_one = append({id}, {record})
    was_empty, runnable = first_one or was_empty, runnable + appended
  end
end

local found, next_part = part()
for i = 1, #found, 2 do
  local id, record = found[i], found[i + 1]
  local body = body_of(record)
  if not lies_somewhere(id, record, body) then
    put_back(id, record, body)
    listed[id], back = true, back + 1
  end
end
count_missing(back)
if next_part then
  redis.call('HSET', CONFIG, 'adrift_at', next_part)
else
  redis.call('HDEL', CONFIG, 'adrift_at', 'adrift_ms')
end
if ARGV[3] == '1' then wake(runnable) end
if was_empty then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return {'ok', now, next_part and 1 or 0, count, back}
