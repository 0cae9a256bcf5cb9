-- One queue's figures at one instant. Writes nothing. Numbers come as text, which is cheaper to make and to read than
-- a list of them.
-- `longest_lease` is the longest that a worker can have, in ms
-- returns {'stale'}; {'rest', now ms, counters, fault, when the first key is over and the oldest bucket was filled,
--         in ms or -1} for a queue that holds no task and has no worker; the first time is now if there are records all the
--         same, of tasks that lie nowhere (see strand.lua); or
--         {'ok', now ms, counters, fault, figures, beginnings of the records at the heads of the lists}
--         fault: what keeps workers from taking tasks, its first KiB, or ''; counters: name and value of each; figures: scheduled, due, next due ms or -1, active, those of them that lapsed
--         workers hold, dead, parked, workers, lapsed workers, then the length of each list
include 'current'
include 'layout'
include 'stored'
include 'record'

if not current() then return {'stale'} end
local now = now_ms()
-- Whoever may write these keys may have put anything there, and who looks after many queues takes all of it in.
local counters = table.concat(redis.call('HGETALL', STATS), ' ')
if #counters > 8192 then return redis.error_reply('ERR the counters of the queue have ' .. #counters .. ' bytes: somebody else has written there') end
local fault = string.sub(redis.call('GET', FAULT) or '', 1, 1024)
if redis.call('EXISTS', DUE, ACTIVE, WORKERS, DEAD, PARKED, unpack(KEYS, FIRST_LIST, LAST_LIST)) == 0 then
  local function first(set) return redis.call('ZRANGE', set, '0', '0', 'WITHSCORES')[2] or -1 end
  local soon, lapse = redis.call('EXISTS', TASKS, SHELVES) > 0 and text(now) or first(UNIQUES), first(LAPSES)
  if tonumber(soon) < 0 or tonumber(lapse) >= 0 and tonumber(lapse) < tonumber(soon) then soon = lapse end
  return {'rest', now, counters, fault, soon .. ' ' .. first(KEPT)}
end

local lengths, heads, runnable = {}, {}, 0
local ghosts = redis.call('HGETALL', GHOSTS)
local ghosts_of = {}
for i = 1, #ghosts, 2 do ghosts_of[ghosts[i]] = ghosts[i + 1] end
for i = FIRST_LIST, LAST_LIST do
  local length = redis.call('LLEN', KEYS[i])
  if #ghosts > 0 then length = math.max(length - (ghosts_of[string.match(KEYS[i], '[^:]*$')] or 0), 0) end
  lengths[#lengths + 1] = length
  runnable = runnable + length
  if length > 0 then
    -- The head may be a ghost.
    for _, id in ipairs(redis.call('LRANGE', KEYS[i], '0', #ghosts > 0 and '9' or '0')) do
      local record = record_of(id)
      -- A level's name, a byte and the two times: 32 + 1 + 1 + 9 + 9 bytes at most.
      if record then
        heads[#heads + 1] = string.sub(record, 1, 64)
        break
      end
    end
  end
end

local scheduled, due, next_due = 0, 0, redis.call('ZRANGE', DUE, '0', '0', 'WITHSCORES')[2]
if next_due then
  scheduled = redis.call('ZCARD', DUE)
  if tonumber(next_due) <= now then due = redis.call('ZCOUNT', DUE, '-inf', text(now)) end
end

-- What has expired is not there to be run. It lies where it lay until somebody ends it, so that few are ever found.
local MOST_LATE = '200'
local function count_out(id)
  local record = redis.call('HGET', TASKS, id)
  local body, mark = body_of(record or '')
  if not body or redis.call('HEXISTS', ACTIVE, id) == 1 then return end
  local at = redis.call('ZSCORE', DUE, id)
  if at then
    if tonumber(at) <= now then due = math.max(due - 1, 0) end
    return
  end
  local _, _, key = extras_of(record)
  if body[2] > now or key ~= '' and redis.call('ZSCORE', PARKED, key .. '\0' .. id) then return end
  local level, place = string.sub(record, 1, mark - 1), #lengths
  for i = FIRST_LIST, LAST_LIST do
    if string.match(KEYS[i], '[^:]*$') == level then place = i - FIRST_LIST + 1 end
  end
  lengths[place] = math.max(lengths[place] - 1, 0)
end
if runnable + due > 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', text(now), 'LIMIT', '0', MOST_LATE)) do count_out(id) end
end

-- A lease that reaches further ahead than any could is not in force: see inherit.lua.
local workers, lapsed, lost = redis.call('ZCARD', WORKERS), 0, 0
local since, ahead = text(now), '(' .. text(now + longest_lease)
if workers > 0 then
  lapsed = redis.call('ZCOUNT', WORKERS, '-inf', since) + redis.call('ZCOUNT', WORKERS, ahead, '+inf')
end
if lapsed > 0 then
  -- In proportion to what is in flight, and only until somebody takes it back.
  local gone = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', since)) do gone[worker] = true end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, ahead, '+inf')) do gone[worker] = true end
  for _, worker in ipairs(redis.call('HVALS', ACTIVE)) do
    if gone[worker] then lost = lost + 1 end
  end
end
local figures = {
  scheduled, due, next_due or -1, redis.call('HLEN', ACTIVE), lost, redis.call('ZCARD', DEAD),
  redis.call('ZCARD', PARKED), workers - lapsed, lapsed, table.concat(lengths, ' '),
}
return {'ok', now, counters, fault, table.concat(figures, ' '), heads}
