-- Shared: letting workers that block for work go on. A token is the id of the worker it was taken out for; any
-- worker may receive it, and then puts that one back in its own place (see exchange.lua), so that every worker
-- that blocks is in IDLE. One that does not may be in it too, for as long as answers cross: it costs a token that
-- wakes nobody, and the next one to block finds it.
local function wake(count)
  while count > 0 do
    local sleepers = redis.call('SPOP', IDLE, math.min(count, 1000))
    if #sleepers == 0 then return end
    redis.call('RPUSH', WAKE, unpack(sleepers))
    count = count - #sleepers
  end
end

-- A queue without workers keeps neither tokens nor sleepers.
local function forget_sleepers()
  if redis.call('EXISTS', WORKERS) == 0 then redis.call('DEL', IDLE, WAKE) end
end

-- When the first scheduled task is due, in ms; nil if there is none.
local function first_due()
  return tonumber(redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')[2])
end

-- Those who sleep do so until the first task is due that they knew of. If there is an earlier one than
-- `before` now, one of them must learn it.
local function wake_if_sooner(before)
  local first = first_due()
  if first and (not before or first < before) then wake(1) end
end
