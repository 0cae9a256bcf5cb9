-- Takes over what lost workers hold: those named, or those whose lease has lapsed. They are out of the queue, and an heir
-- holds their tasks until it has settled each. If it does not get to that, its lease lapses, and another takes over.
-- `heir` is a new worker id; `lease` its lease in ms, to which a lease is cut as well that is longer than `longest_lease`, the
-- longest that a worker can have; `longest_silence` for how long nobody may have looked for lapsed leases, in ms, before they
-- are given the time `given` (see grace.lua); `room` how many bytes are told of what the lost ones ran, `most_told` of how many
-- tasks it is told who held them. REST: ids of workers that are gone, or none for those whose lease has lapsed
-- returns {'ok', now ms, how many workers were lost, how many tasks they held}, and if that is any also {their ids, what each
--         had said of itself, and of what it ran, ids of tasks, for each the place of its worker among those}
include 'sleepers'
include 'grace'

local now = now_ms()
local lost = {}
if #ARGV >= REST then
  for i = REST, #ARGV do
    if redis.call('ZSCORE', WORKERS, ARGV[i]) then lost[#lost + 1] = ARGV[i] end
  end
else
  -- A lease that reaches further ahead than any could is from before the clock went back. A worker that lives extends it
  -- by its next beat; one that died must not hold its tasks for as long as the clock needs to catch up.
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. text(now + longest_lease), '+inf')) do
    redis.call('ZADD', WORKERS, text(now + lease), worker)
  end
  give_grace(now, tonumber(longest_silence), tonumber(given))
  lost = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', text(now))
end
if #lost == 0 then return {'ok', now, 0, 0} end
local MOST_WORDS = 4096
local gone, infos, runs, left = {}, {}, {}, tonumber(room)
for i, worker in ipairs(lost) do
  local info, ran = redis.call('HGET', INFO, worker) or '', redis.pcall('HGET', RUNS, worker)
  gone[worker], infos[i] = i, #info <= MOST_WORDS and info or ''
  runs[i] = type(ran) == 'string' and #ran <= left and ran or ''
  left = left - #runs[i]
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', INFO, worker)
  redis.pcall('HDEL', RUNS, worker)
  redis.call('SREM', IDLE, worker)
  redis.call('ZREM', DRAINING, worker)
end

-- Proportional to what is in flight, never to the backlog, and only when a worker has died.
local held, count, most = redis.call('HGETALL', ACTIVE), 0, tonumber(most_told)
local ids, places = {}, {}
for i = 1, #held, 2 do
  local place = gone[held[i + 1]]
  if place then
    redis.call('HSET', ACTIVE, held[i], heir)
    count = count + 1
    if count <= most then ids[count], places[count] = held[i], place end
  end
end
if count == 0 then
  forget_sleepers()
  return {'ok', now, #lost, 0}
end
redis.call('ZADD', WORKERS, text(now + lease), heir)
return {'ok', now, #lost, count, lost, infos, runs, ids, places}
