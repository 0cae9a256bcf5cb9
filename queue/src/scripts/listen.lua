-- Says that somebody listens to live events (see tell.lua), from now on for a while; each listener says so again and again.
-- Where nobody did, one number is passed over, by which whoever goes on listening sees that something may be missing.
-- `lease` is for how long, in ms; `kept` for how long the events are kept after that was last said, in ms
-- returns {'ok', now ms, the last entry, the number of the last event}
local now = now_ms()
include 'live'

if not live or redis.call('EXISTS', LIVE) == 0 then
  for sixteenth = 0, 15 do redis.call('HDEL', CONFIG, 'told_' .. text(sixteenth)) end
  local number = redis.call('HINCRBY', CONFIG, 'told', '1') + 1
  redis.call('XADD', LIVE, 'MAXLEN', '65536', '*', 'n', text(number))
end
redis.call('HSET', CONFIG, 'live', text(now + lease))
redis.call('PEXPIRE', LIVE, kept)
local last = redis.call('XREVRANGE', LIVE, '+', '-', 'COUNT', '1')[1]
return {'ok', now, last and last[1] or '', redis.call('HGET', CONFIG, 'told') or '0'}
