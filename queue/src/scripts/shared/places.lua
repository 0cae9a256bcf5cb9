-- Shared: giving back the place of a concurrency key.
include 'wake'
include 'levels'
include 'missing'

-- Lets in who is parked for a key while it has room, the oldest first, at most 100; `held` are the places taken.
-- Returns how many came in, and how many places are taken now.
local function let_in(key, held)
  local limit = tonumber(redis.call('HGET', CONFIG, string.byte(key) == 0 and key or 'perKey') or '')
  local came = 0
  while came < 100 and (not limit or held < limit) do
    local parked = redis.call('ZRANGEBYLEX', PARKED, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', '0', '1')[1]
    if not parked then break end
    redis.call('ZREM', PARKED, parked)
    local id = string.sub(parked, #key + 2)
    local record = redis.call('HGET', TASKS, id)
    if record then
      redis.call('RPUSH', list_for(id, record), id)
      held = hold(id, key)
      came = came + 1
    else
      count_missing(1)
    end
  end
  return came, held
end

-- A task is neither runnable nor active any more.
local function give_back(id, key)
  if key == '' then return end
  redis.call('HDEL', HOLDERS, id)
  local came, held = let_in(key, redis.call('HINCRBY', HELD, key, '-1'))
  if held <= 0 then redis.call('HDEL', HELD, key) end
  wake(came)
end
