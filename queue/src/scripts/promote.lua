-- Makes due tasks runnable, and trims the dead letters to the policy's bounds. Both bounded: call again while
-- the first figure is the limit.
-- KEYS  shared
-- ARGV  3 most tasks to promote; 4 greatest age of a dead letter in ms; 5 most dead letters
--       6 '1' to wake workers (not while the queue is paused); 7 channel to announce on; 8 the queue's name
-- returns {'stale'} with nothing done, or {'ok', now ms, promoted, trimmed}
if not current() then return {'stale'} end
local now = now_ms()
local promoted, was_empty = promote(now, tonumber(ARGV[3]))
if ARGV[6] == '1' then wake(promoted) end
if was_empty then redis.call('PUBLISH', ARGV[7], ARGV[8]) end

local trimmed = redis.call('ZRANGEBYSCORE', DEAD, '-inf', now - ARGV[4], 'LIMIT', 0, 500)
discard(trimmed)
local surplus = redis.call('ZCARD', DEAD) - ARGV[5]
if surplus > 0 then
  local oldest = redis.call('ZRANGE', DEAD, 0, math.min(surplus, 500) - 1)
  discard(oldest)
  return {'ok', now, promoted, #trimmed + #oldest}
end
return {'ok', now, promoted, #trimmed}
