-- Shared: giving back the place of a concurrency key.

-- Lets in who is parked for it, the oldest first, a bounded number at a time.
local function give_back(key)
  if key == '' then return end
  local limit = tonumber(redis.call('HGET', CONFIG, 'perKey') or '')
  local held = redis.call('HINCRBY', HELD, key, -1)
  local let_in = 0
  while let_in < 100 and (not limit or held < limit) do
    local parked = redis.call('ZRANGEBYLEX', PARKED, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
    if not parked then break end
    redis.call('ZREM', PARKED, parked)
    local id = string.sub(parked, #key + 2)
    local record = redis.call('HGET', TASKS, id)
    if record then
      redis.call('RPUSH', list_of(record), id)
      held = redis.call('HINCRBY', HELD, key, 1)
      let_in = let_in + 1
    end
  end
  if held <= 0 then redis.call('HDEL', HELD, key) end
  wake(let_in)
end
