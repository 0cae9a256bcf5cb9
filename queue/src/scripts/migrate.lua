-- Brings in what earlier versions keep apart (see layout.lua): tasks of a span of time far ahead.
-- KEYS  lists of spans
-- returns {'ok', now ms, numbers of spans that come next}
include 'record'

local now = now_ms()
local MOST_IDS, MOST_SPANS = '1000', '100'

for i = LAST_LIST + 1, #KEYS do
  -- Something else in its place holds none.
  local ids = redis.pcall('LPOP', KEYS[i], MOST_IDS) or {}
  if ids.err then ids = {} end
  for _, id in ipairs(ids) do
    local record = redis.call('HGET', TASKS, id)
    local body = record and body_of(record)
    if record then redis.call('ZADD', DUE, text(body and body[2] or now), id) end
  end
  if #ids == 0 then
    redis.call('UNLINK', KEYS[i])
    redis.call('ZREM', LATER, string.match(KEYS[i], '[^:]*$'))
  end
end
local spans = {}
for _, number in ipairs(redis.call('ZRANGE', LATER, '0', MOST_SPANS)) do
  if not string.find(number, '^%d+$') or #number > 15 then redis.call('ZREM', LATER, number) else spans[#spans + 1] = number end
end
if redis.call('EXISTS', LATER) == 0 then
  redis.call('DEL', LATERGHOSTS)
  redis.call('HDEL', STATS, 'later')
end
return {'ok', now, spans}
