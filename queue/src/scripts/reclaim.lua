-- Takes back what workers with a lapsed lease hold: to the heads of the levels, the oldest first; a task that
-- has lost too many workers goes to the dead letters instead.
-- KEYS  shared
-- ARGV  3 losses a task may have; 4 '1' to wake workers; 5 channel to announce on; 6 the queue's name
-- returns {'stale'} with nothing done, or {'ok', now ms, released, quarantined, workers}
if not current() then return {'stale'} end
local now = now_ms()
local lapsed = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now)
if #lapsed == 0 then return {'ok', now, 0, 0, 0} end
local gone = {}
for _, worker in ipairs(lapsed) do gone[worker] = true end

-- Proportional to what is in flight, never to the backlog, and only when a worker has died.
local held, ids = redis.call('HGETALL', ACTIVE), {}
for i = 1, #held, 2 do
  if gone[held[i + 1]] then ids[#ids + 1] = held[i] end
end
table.sort(ids, function(a, b) return a > b end)

local CAUSE_WORKER_LOST, MOST_ERRORS = 2, 10
local function quarantine(id, record, losses)
  edit(id, record, function(body)
    local errors = body[5]
    errors[#errors + 1] = {body[4] + 1, now, CAUSE_WORKER_LOST, 'lost its worker ' .. losses .. ' times'}
    if #errors > MOST_ERRORS then table.remove(errors, 1) end
  end)
  redis.call('ZADD', DEAD, now, id)
end

local released, quarantined, was_empty = 0, 0, false
for _, id in ipairs(ids) do
  redis.call('HDEL', ACTIVE, id)
  local record = redis.call('HGET', TASKS, id)
  if record then
    -- Not by HINCRBY: a count that is no number would end the script with the task in no state.
    local losses = tonumber(redis.call('HGET', LOST, id) or 0)
    losses = losses and losses >= 0 and losses < 1e9 and math.floor(losses) + 1 or 1
    redis.call('HSET', LOST, id, losses)
    if losses > tonumber(ARGV[3]) then
      quarantine(id, record, losses)
      quarantined = quarantined + 1
    else
      if redis.call('LPUSH', list_of(record), id) == 1 then was_empty = true end
      released = released + 1
    end
  end
end
for _, worker in ipairs(lapsed) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', INFO, worker)
  redis.call('SREM', IDLE, worker)
end
if #ids > 0 then redis.call('HINCRBY', STATS, 'lost', #ids) end
if quarantined > 0 then redis.call('HINCRBY', STATS, 'dead', quarantined) end
forget_sleepers()
if ARGV[4] == '1' then wake(released) end
if was_empty then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return {'ok', now, released, quarantined, #lapsed}
