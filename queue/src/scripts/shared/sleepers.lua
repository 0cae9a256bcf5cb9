-- Shared.

-- A queue without workers keeps neither tokens nor sleepers.
local function forget_sleepers()
  if redis.call('EXISTS', WORKERS) == 0 then redis.call('DEL', IDLE, WAKE) end
end
