-- Moves tasks of a span that has come near to where they wait for their exact time, a bounded number at a time.
-- KEYS  the span's list
-- ARGV  3 most tasks to move
-- returns {'ok', now ms, how many ids the list still has}
include 'sooner'
include 'record'
include 'missing'

local now = now_ms()
local span = KEYS[LAST_LIST + 1]
local number = string.match(span, '[^:]*$')

-- Of ids without a record the ones that are missing, and not cancelled.
local function take_ghosts(gone)
  local ghosts = tonumber(redis.call('HGET', LATERGHOSTS, number) or '')
  -- Not counted from the span's beginning.
  if not ghosts then return 0 end
  redis.call('HSET', LATERGHOSTS, number, text(math.max(ghosts - gone, 0)))
  return math.max(gone - ghosts, 0)
end

local ids = redis.call('LPOP', span, ARGV[3]) or {}
if #ids > 0 then
  local before = first_due()
  local moved = 0
  for i, record in ipairs(redis.call('HMGET', TASKS, unpack(ids))) do
    local body = record and body_of(record)
    if record then
      redis.call('ZADD', DUE, text(body and body[2] or now), ids[i])
      moved = moved + 1
    end
  end
  local lost = moved < #ids and take_ghosts(#ids - moved) or 0
  count_missing(lost)
  local passed = moved + lost
  if passed > 0 and redis.call('HINCRBY', STATS, 'later', text(-passed)) <= 0 then redis.call('HDEL', STATS, 'later') end
  wake_if_sooner(before)
end
local left = redis.call('LLEN', span)
if left == 0 then
  redis.call('ZREM', LATER, number)
  redis.call('HDEL', LATERGHOSTS, number)
  -- Without a span there is no task in one: those still counted were lost with their lists.
  local counted = redis.call('EXISTS', LATER) == 0 and tonumber(redis.call('HGET', STATS, 'later') or 0) or 0
  if counted > 0 then redis.call('HDEL', STATS, 'later') end
  count_missing(counted)
end
return {'ok', now, left}
