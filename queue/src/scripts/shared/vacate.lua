-- Shared: places of concurrency keys whose tasks are missing, so that no record says which key it was. Whoever is parked
-- for one comes in when the queue is tidied next (see unpark.lua).
local function vacate(ids)
  for i, key in ipairs(redis.call('HMGET', HOLDERS, unpack(ids))) do
    if key then
      redis.call('HDEL', HOLDERS, ids[i])
      if redis.call('HINCRBY', HELD, key, '-1') <= 0 then redis.call('HDEL', HELD, key) end
      redis.call('HSET', CONFIG, 'unpark', '1')
    end
  end
end
