-- Takes back what workers with a lapsed lease hold: to the heads of the levels, the oldest first; a task that
-- has lost too many workers goes to the dead letters instead.
-- KEYS  the shelves that an answer asked for
-- ARGV  3 losses a task may have; 4 '1' to wake workers; 5 channel to announce on; 6 the queue's name
--       7 number of the cause; 8 what a loss does: 'retry' or 'dead'; 9 '1' if it counts as an attempt; 10 most
--       attempts; 11 delay in ms before it runs again, '' for at once; 12 what is known of the loss, '' for nothing
--       13 the longest lease that a worker can have, in ms; 14 what a longer one is cut to, in ms; 15 for how long nobody
--       may have looked for lapsed leases, in ms, before they are given time (see grace.lua); 16 that time, in ms
--       then ids of workers that are gone, or none for those whose lease has lapsed
-- returns {'stale'} with nothing done, or {'ok', now ms, names of shelves that are to be declared, released, quarantined,
--         workers}; if there are such names, nothing was taken back
include 'current'
include 'wake'
include 'due'
include 'sooner'
include 'sleepers'
include 'record'
include 'shelves'
include 'stored'
include 'ghosts'
include 'levels'
include 'missing'
include 'vacate'
include 'places'
include 'unique'
include 'edit'
include 'grace'

if not current() then return {'stale'} end
local now = now_ms()
local lapsed = {}
if #ARGV > 16 then
  for i = 17, #ARGV do
    if redis.call('ZSCORE', WORKERS, ARGV[i]) then lapsed[#lapsed + 1] = ARGV[i] end
  end
else
  -- A lease that reaches further ahead than any could is from before the clock went back. A worker that lives extends it
  -- by its next beat; one that died must not hold its tasks for as long as the clock needs to catch up.
  local longest = '(' .. text(now + ARGV[13])
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, longest, '+inf')) do
    redis.call('ZADD', WORKERS, text(now + ARGV[14]), worker)
  end
  give_grace(now, tonumber(ARGV[15]), tonumber(ARGV[16]))
  lapsed = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', text(now))
end
if #lapsed == 0 then return {'ok', now, {}, 0, 0, 0} end
local gone = {}
for _, worker in ipairs(lapsed) do gone[worker] = true end

-- Proportional to what is in flight, never to the backlog, and only when a worker has died.
local held, ids = redis.call('HGETALL', ACTIVE), {}
for i = 1, #held, 2 do
  if gone[held[i + 1]] then ids[#ids + 1] = held[i] end
end
table.sort(ids, function(a, b) return a > b end)

declare_shelves(LAST_LIST + 1, #KEYS)
local names, named = {}, {}
for _, id in ipairs(ids) do
  local name = string.sub(id, 1, 9)
  if not named[name] and record_of(id) == false then
    names[#names + 1] = name
    named[name] = true
  end
end
if #names > 0 then return {'ok', now, names, 0, 0, 0} end

local MOST_ERRORS = 10
local cause, counts, most_attempts = tonumber(ARGV[7]), ARGV[9] == '1', tonumber(ARGV[10])
local detail = ARGV[12] == '' and '' or ': ' .. ARGV[12]
local before = first_due()

-- Notes the loss in the record.
local function note(id, record, message)
  edit(id, record, function(body)
    local errors = body[5]
    errors[#errors + 1] = {body[4] + 1, now, cause, message}
    if #errors > MOST_ERRORS then table.remove(errors, 1) end
    if counts then body[4] = body[4] + 1 end
    if ARGV[11] ~= '' then body[2] = now + ARGV[11] end
  end)
end

local released, quarantined, was_empty = 0, 0, false
for _, id in ipairs(ids) do
  redis.call('HDEL', ACTIVE, id)
  redis.call('HDEL', PROGRESS, id)
  local record = record_of(id)
  if record then
    -- Not by HINCRBY: a count that is no number would end the script with the task in no state.
    local losses = tonumber(redis.call('HGET', LOST, id) or 0)
    losses = losses and losses >= 0 and losses < 1e9 and math.floor(losses) + 1 or 1
    redis.call('HSET', LOST, id, text(losses))
    local body = body_of(record)
    local spent = counts and body and body[4] + 1 >= most_attempts
    local _, _, key = extras_of(record)
    if ARGV[8] == 'dead' or spent or losses > tonumber(ARGV[3]) then
      note(id, record, 'lost its worker ' .. losses .. (losses == 1 and ' time' or ' times') .. detail)
      redis.call('ZADD', DEAD, text(now), id)
      let_go(id, record)
      redis.call('SREM', CANCEL, id)
      give_back(id, key)
      quarantined = quarantined + 1
    else
      if cause ~= 2 or counts or ARGV[11] ~= '' or detail ~= '' then note(id, record, 'lost its worker' .. detail) end
      may_expire(id, record)
      if ARGV[11] ~= '' then
        redis.call('ZADD', DUE, text(now + ARGV[11]), id)
        give_back(id, key)
      else
        local list = list_for(id, record)
        if redis.call('LPUSH', list, id) - ghosts_in(list) == 1 then was_empty = true end
      end
      released = released + 1
    end
  else
    count_missing(1)
    vacate({id})
  end
end
for _, worker in ipairs(lapsed) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', INFO, worker)
  redis.call('SREM', IDLE, worker)
  redis.call('ZREM', DRAINING, worker)
end
if #ids > 0 then redis.call('HINCRBY', STATS, 'lost', text(#ids)) end
if quarantined > 0 then redis.call('HINCRBY', STATS, 'dead', text(quarantined)) end
forget_sleepers()
if ARGV[4] == '1' then
  wake(released)
  wake_if_sooner(before)
end
if was_empty then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return {'ok', now, {}, released, quarantined, #lapsed}
