-- Shared: a bucket has got done records. It expires by itself; KEPT and KEPTCOUNT are for who lists and counts.
local function keep(bucket, count, retention, now)
  local name = string.sub(bucket, -9)
  redis.call('PEXPIRE', bucket, retention)
  redis.call('ZADD', KEPT, text(now), name)
  redis.call('HINCRBY', KEPTCOUNT, name, text(count))
end
