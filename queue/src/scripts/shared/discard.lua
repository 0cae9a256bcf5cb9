-- Shared: throwing dead letters away.
include 'record'
include 'drop'
include 'lapse'
include 'live'
local function discard(ids, now)
  if #ids == 0 then return end
  if live then
    include 'tell'
    for _, id in ipairs(ids) do tell('purged', id, '', '', '', record_of(id) or '') end
    flush()
  end
  redis.call('ZREM', DEAD, unpack(ids))
  local keyed = redis.call('EXISTS', IDEMPOTENCY) == 1
  for _, id in ipairs(ids) do
    local record = keyed and record_of(id)
    if record then
      local _, _, _, key = extras_of(record)
      begin_lapse(key, id, now)
    end
    drop(id)
  end
  redis.call('HINCRBY', STATS, 'purged', text(#ids))
end
