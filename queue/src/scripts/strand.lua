-- Puts back tasks that lie nowhere: their records are there, and what held their ids is gone from the server: a list, the
-- leases, the times of those that are scheduled. Looks at a bounded number at a time, and goes on where it was.
-- `wakes` is '1' to wake workers; `channel` where to announce `queue`, its name; `most` about how many records to look at;
-- `most_listed` how many ids may be in the lists: as long as there are more it only counts; `patience` how long tasks must have
-- lain nowhere, in ms: some may still run whose leases are lost; `most_attempts` and `most_losses` what a task may
-- have. REST: name and most attempts of each type that has its own
-- returns {'stale'} with nothing done, or {'ok', now ms, 1 if there are more records to look at, how many tasks lie nowhere
--         when it begins, how many it put back}
include 'current'
include 'layout'
include 'wake'
include 'levels'
include 'stored'
include 'missing'

if not current() then return {'stale'} end
local now = now_ms()

-- In the same order each time.
local MOST_SHELVES = 10000
local names = redis.call('HLEN', SHELVES) <= MOST_SHELVES and redis.call('HKEYS', SHELVES) or {}
table.sort(names)

-- How many records there are for which there is no place; 0 if that cannot be told.
local function nowhere()
  if redis.call('HLEN', SHELVES) ~= #names then return 0 end
  local count = redis.call('HLEN', TASKS)
  for _, name in ipairs(names) do
    local held = redis.call('HLEN', shelf_of(name))
    if held == 0 then redis.call('HDEL', SHELVES, name) end
    count = count + held
  end
  for i = FIRST_LIST, LAST_LIST do count = count - math.max(redis.call('LLEN', KEYS[i]) - ghosts_in(KEYS[i]), 0) end
  local others = redis.call('ZCARD', DUE) + redis.call('ZCARD', DEAD) + redis.call('ZCARD', PARKED)
  return math.max(count - others - redis.call('HLEN', ACTIVE), 0)
end

local from, count = redis.call('HGET', CONFIG, 'adrift_at'), 0
if not from or #from > 19 or not string.find(from, '^s?%d+$') then
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
  if now - since < tonumber(patience) then return {'ok', now, 0, count, 0} end
  from = '0'
end
local waiting = 0
for i = FIRST_LIST, LAST_LIST do waiting = waiting + redis.call('LLEN', KEYS[i]) end
if waiting > tonumber(most_listed) then return {'ok', now, 0, count, 0} end

local listed = {}
for i = FIRST_LIST, LAST_LIST do
  for _, id in ipairs(redis.call('LRANGE', KEYS[i], '0', '-1')) do listed[id] = true end
end

-- What is no id of ours is left alone.
local function lies_somewhere(id, record)
  if #id ~= 20 or string.find(id, '[^0-9a-v]') then return true end
  if listed[id] or redis.call('HEXISTS', ACTIVE, id) == 1 then return true end
  if redis.call('ZSCORE', DUE, id) or redis.call('ZSCORE', DEAD, id) then return true end
  local _, _, key = extras_of(record)
  return key ~= '' and redis.call('ZSCORE', PARKED, key .. '\0' .. id)
end

local back, runnable, was_empty = 0, 0, false
local attempts_of_type = {}
for i = REST, #ARGV, 2 do attempts_of_type[ARGV[i]] = tonumber(ARGV[i + 1]) end

-- Where it must have been: what can be told from the record, its losses and its place of a concurrency key.
local function put_back(id, record, body)
  local losses = tonumber(redis.call('HGET', LOST, id) or 0) or 0
  -- Its own, if it has some (see record/overrides.rs).
  local own = body and type(body[6]) == 'table' and type(body[6][7]) == 'table' and tonumber(body[6][7][1]) or 0
  local most = own > 0 and own or body and attempts_of_type[body[3]] or tonumber(most_attempts)
  if body and body[4] >= most or losses > tonumber(most_losses) then
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

-- The records of one part, id and record by turns, and where the next part begins, if there is one: first those in TASKS,
-- then shelf by shelf.
local function part()
  local place = tonumber(string.match(from, '^s(%d+)$') or '')
  if place then
    local shelf = names[place] and shelf_of(names[place])
    return shelf and redis.call('HGETALL', shelf) or {}, place < #names and 's' .. text(place + 1) or nil
  end
  local page = redis.call('HSCAN', TASKS, from, 'COUNT', most)
  if page[1] ~= '0' then return page[2], page[1] end
  return page[2], #names > 0 and 's1' or nil
end

local found, next_part = part()
for i = 1, #found, 2 do
  local id, record = found[i], found[i + 1]
  if not lies_somewhere(id, record) then
    put_back(id, record, body_of(record))
    listed[id], back = true, back + 1
  end
end
count_missing(back)
if next_part then
  redis.call('HSET', CONFIG, 'adrift_at', next_part)
else
  redis.call('HDEL', CONFIG, 'adrift_at', 'adrift_ms')
end
if wakes == '1' then wake(runnable) end
if was_empty then redis.call('PUBLISH', channel, queue) end
return {'ok', now, next_part and 1 or 0, count, back}
