-- Shared: done records.
include 'log'

-- Puts done records into their bucket: ids and records by turns, those of `list` from `first` to `last`. The bucket expires
-- by itself; KEPT and KEPTCOUNT are for who lists and counts.
local function put_done(bucket, list, first, last, retention, now)
  local name = string.sub(bucket, -9)
  redis.call('HSET', bucket, unpack(list, first, last))
  redis.call('PEXPIRE', bucket, retention)
  redis.call('ZADD', KEPT, text(now), name)
  redis.call('HINCRBY', KEPTCOUNT, name, text((last - first + 1) / 2))
  log(list, first, last)
end
