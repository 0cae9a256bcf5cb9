-- Shared: tasks that stand for idempotency keys (see keyed.lua).
local LOOKED_AT_EVERY = 3600000

-- Its task has not ended.
local function look_again_later(key, now) redis.call('ZADD', LAPSES, text(now + LOOKED_AT_EVERY), key) end

-- Gives a key that is free to a task.
local function stand_for(key, id, fingerprint, keep, now)
  redis.call('HSET', IDEMPOTENCY, key, id .. ' ' .. fingerprint .. ' ' .. keep)
  look_again_later(key, now)
end
