-- Makes due tasks runnable, and trims the dead letters to the policy's bounds, both a bounded number at a time: call
-- again while the first figure is the limit. Also drops ghosts at the heads of the lists, and notes how many tasks
-- have ended, for who wants to know how fast the queue drains.
-- `most` is how many tasks to promote; `dead_age` (ms) and `most_dead` what is kept of dead letters; `wakes` '1' to wake
-- workers (not while the queue is paused); `channel` where to announce `queue`, its name; `fault_kept` how long what keeps
-- workers from taking tasks is kept, in ms, when that cannot be told any more
-- returns {'stale'} with nothing done, or {'ok', now ms, due, trimmed}
include 'current'
include 'layout'
include 'wake'
include 'laid'
include 'ahead'
include 'stored'

if not current() then return {'stale'} end
local now = now_ms()
include 'promote'
include 'discard'
local promoted, due, was_empty = promote(now, tonumber(most))
if wakes == '1' then wake(promoted) end
if was_empty then redis.call('PUBLISH', channel, queue) end

for i = FIRST_LIST, LAST_LIST do
  local left = math.min(ghosts_in(KEYS[i]) + 0, 500)
  local laid = {}
  while #laid < left do
    local id = redis.call('LINDEX', KEYS[i], '0')
    if not id or record_of(id) then break end
    redis.call('LPOP', KEYS[i])
    laid[#laid + 1] = id
  end
  if #laid > 0 then lay(KEYS[i], laid) end
end

local marks = redis.call('HMGET', STATS, 'completed', 'mark_ms', 'next_ms')
local back = (marks[3] or 0) - now
if back > 0 then
  -- The clock went back by about as much. What was to last a while must not last that much longer.
  local draining = redis.call('ZRANGE', DRAINING, '0', '-1', 'WITHSCORES')
  for i = 1, #draining, 2 do redis.call('ZADD', DRAINING, text(draining[i + 1] - back), draining[i]) end
  redis.call('PEXPIRE', FAULT, fault_kept)
  local completed = marks[1] or '0'
  redis.call('HSET', STATS, 'mark', completed, 'mark_ms', text(now), 'next', completed, 'next_ms', text(now))
elseif -back >= 10000 then
  local last = redis.call('HGET', STATS, 'next') or marks[1] or '0'
  redis.call('HSET', STATS, 'mark', last, 'mark_ms', marks[3] or text(now), 'next', marks[1] or '0', 'next_ms', text(now))
end

bring_back(DEAD, now)
local trimmed = redis.call('ZRANGEBYSCORE', DEAD, '-inf', text(now - dead_age), 'LIMIT', '0', '500')
discard(trimmed, now)
local surplus = redis.call('ZCARD', DEAD) - most_dead
if surplus > 0 then
  local oldest = redis.call('ZRANGE', DEAD, '0', text(math.min(surplus, 500) - 1))
  discard(oldest, now)
  return {'ok', now, due, #trimmed + #oldest}
end
return {'ok', now, due, #trimmed}
