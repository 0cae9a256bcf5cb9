-- Marks workers as draining: from now on they are given no tasks (see exchange.lua), until the mark lapses or is taken
-- away. To mark one again puts the new time in place of the old one.
-- `span` is for how long, in ms. REST: ids of workers
-- returns {'ok', now ms, ids of those that are registered, how many tasks each of them holds}
local now = now_ms()
local marked, holds = {}, {}
for i = REST, #ARGV do
  local worker = ARGV[i]
  if not holds[worker] and redis.call('ZSCORE', WORKERS, worker) then
    marked[#marked + 1], holds[worker] = worker, 0
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', DRAINING, '-inf', text(now))) do redis.call('ZREM', DRAINING, worker) end
for _, worker in ipairs(marked) do
  redis.call('ZADD', DRAINING, text(now + span), worker)
  -- If it blocks still, it hands on the token that it gets.
  redis.call('SREM', IDLE, worker)
end
-- Where nobody marks any more, nothing is left of the marks.
local last = redis.call('ZREVRANGE', DRAINING, '0', '0', 'WITHSCORES')[2]
if last then redis.call('PEXPIRE', DRAINING, text(math.max(last - now, 1))) end

for _, worker in ipairs(redis.call('HVALS', ACTIVE)) do
  if holds[worker] then holds[worker] = holds[worker] + 1 end
end
local counts = {}
for i, worker in ipairs(marked) do counts[i] = holds[worker] end
return {'ok', now, marked, counts}
