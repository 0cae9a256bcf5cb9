-- Lets in tasks that are parked although their key has room: an edit of the policy may leave some.
-- ARGV  3 the key to go on behind, '' to begin; 4 most keys to look at
-- returns {'stale'} with nothing done, or {'ok', now ms, 1 if there may be more, the key to go on behind}
if not current() then return {'stale'} end
local now = now_ms()
local behind, looks, woken, more = ARGV[3], tonumber(ARGV[4]), 0, 1
while looks > 0 do
  local from = behind == '' and '-' or '(' .. behind .. '\1'
  local parked = redis.call('ZRANGEBYLEX', PARKED, from, '+', 'LIMIT', 0, 1)[1]
  if not parked then
    more = 0
    redis.call('HDEL', CONFIG, 'unpark')
    break
  end
  -- A key, a zero byte and an id.
  local key = string.sub(parked, 1, -22)
  local came = let_in(key, tonumber(redis.call('HGET', HELD, key) or 0))
  woken = woken + came
  if came < 100 then behind = key end
  looks = looks - 1
end
wake(woken)
return {'ok', now, more, behind}
