-- Lets in tasks that are parked although their key has room: an edit of the policy may leave some.
-- `begin` is where to go on, '-' at the beginning; `most` how many keys to look at
-- returns {'stale'} with nothing done, or {'ok', now ms, 1 if there may be more, where to go on}
include 'current'
include 'layout'
include 'places'

if not current() then return {'stale'} end
local now = now_ms()
local from, more, woken = begin, 1, 0
for _ = 1, tonumber(most) do
  local parked = redis.call('ZRANGEBYLEX', PARKED, from, '+', 'LIMIT', '0', '1')[1]
  if not parked then
    more = 0
    redis.call('HDEL', CONFIG, 'unpark')
    break
  end
  -- A key, a zero byte and an id; anything else is not ours.
  local key = string.match(parked, '^(.+)%z' .. string.rep('%w', 20) .. '$')
  if not key then
    -- Past all that begin like it, if it is longer than any key.
    from = #parked <= 1024 and '(' .. parked or '(' .. string.sub(parked, 1, 1024) .. '\255'
  else
    local came = let_in(key, tonumber(redis.call('HGET', HELD, key) or 0))
    woken = woken + came
    if came < 100 then from = '(' .. key .. '\1' end
  end
end
wake(woken)
return {'ok', now, more, from}
