-- Makes due tasks runnable, and trims the dead letters to the policy's bounds, both a bounded number at a time: call
-- again while the first figure is the limit. Also drops ghosts at the heads of the lists, and notes how many tasks
-- have ended, for who wants to know how fast the queue drains.
-- ARGV  3 most tasks to promote; 4 greatest age of a dead letter in ms; 5 most dead letters
--       6 '1' to wake workers (not while the queue is paused); 7 channel to announce on; 8 the queue's name
-- returns {'stale'} with nothing done, or {'ok', now ms, due, trimmed}
include 'current'
include 'wake'
include 'record'
include 'shelves'
include 'stored'
include 'ghosts'
include 'levels'
include 'promote'
include 'discard'

if not current() then return {'stale'} end
local now = now_ms()
local promoted, due, was_empty = promote(now, tonumber(ARGV[3]))
if ARGV[6] == '1' then wake(promoted) end
if was_empty then redis.call('PUBLISH', ARGV[7], ARGV[8]) end

for i = FIRST_LIST, LAST_LIST do
  local left = math.min(ghosts_in(KEYS[i]) + 0, 500)
  local laid = 0
  while laid < left do
    local id = redis.call('LINDEX', KEYS[i], 0)
    if not id or record_of(id) ~= nil then break end
    redis.call('LPOP', KEYS[i])
    laid = laid + 1
  end
  if laid > 0 then count_ghosts(KEYS[i], -laid) end
end

local marks = redis.call('HMGET', STATS, 'completed', 'mark_ms', 'next_ms')
if now - (marks[3] or 0) >= 10000 then
  local last = redis.call('HGET', STATS, 'next') or marks[1] or 0
  redis.call('HSET', STATS, 'mark', last, 'mark_ms', marks[3] or now, 'next', marks[1] or 0, 'next_ms', now)
end

local trimmed = redis.call('ZRANGEBYSCORE', DEAD, '-inf', now - ARGV[4], 'LIMIT', 0, 500)
discard(trimmed)
local surplus = redis.call('ZCARD', DEAD) - ARGV[5]
if surplus > 0 then
  local oldest = redis.call('ZRANGE', DEAD, 0, math.min(surplus, 500) - 1)
  discard(oldest)
  return {'ok', now, due, #trimmed + #oldest}
end
return {'ok', now, due, #trimmed}
