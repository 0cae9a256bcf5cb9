-- Shared: letting workers that block for work go on. A token is the id of the worker it was taken out for; any
-- worker may receive it, and then puts that one back in its own place (see exchange.lua), so that every worker
-- that blocks is in IDLE. One that does not may be in it too, for as long as answers cross: it costs a token that
-- wakes nobody, and the next one to block finds it.
local function wake(count)
  while count > 0 do
    local sleepers = redis.call('SPOP', IDLE, text(math.min(count, 1000)))
    if #sleepers == 0 then return end
    redis.call('RPUSH', WAKE, unpack(sleepers))
    count = count - #sleepers
  end
end
