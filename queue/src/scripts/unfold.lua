-- Moves tasks of a span that has come near to where they wait for their exact time, a bounded number at a time.
-- KEYS  the span's list
-- ARGV  3 most tasks to move
-- returns {'ok', now ms, how many ids the list still has}
include 'wake'
include 'due'
include 'sooner'
include 'record'

local now = now_ms()
local span = KEYS[LAST_LIST + 1]
local ids = redis.call('LPOP', span, ARGV[3]) or {}
if #ids > 0 then
  local before = first_due()
  local moved = 0
  for i, record in ipairs(redis.call('HMGET', TASKS, unpack(ids))) do
    local body = record and body_of(record)
    -- Without a record it was cancelled.
    if record then
      redis.call('ZADD', DUE, body and body[2] or now, ids[i])
      moved = moved + 1
    end
  end
  if moved > 0 and redis.call('HINCRBY', STATS, 'later', -moved) <= 0 then redis.call('HDEL', STATS, 'later') end
  wake_if_sooner(before)
end
local left = redis.call('LLEN', span)
if left == 0 then redis.call('ZREM', LATER, string.match(span, '[^:]*$')) end
return {'ok', now, left}
