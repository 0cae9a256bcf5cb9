-- Shared (inherit): workers that could not beat because the server was away, or that lapsed because its clock went
-- forward. Whoever takes back lapsed leases notes the time. If that is long ago, nobody could beat in between, or nobody
-- was there to see who did: then the leases say nothing, and each that has lapsed or is about to is given time once. A
-- worker that does not beat in it is lost, whatever happens meanwhile: SPARED says until when which of them were given.
local SPARED_FOR = '86400000'

local function give_grace(now, longest, grace)
  local last = tonumber(redis.call('HGET', STATS, 'reclaim_ms') or '')
  redis.call('HSET', STATS, 'reclaim_ms', text(now))
  if not last or now - last <= longest then return end
  local until_then = text(now + grace)
  local spared = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', '(' .. until_then)) do
    local given = redis.call('HGET', SPARED, worker)
    if given and tonumber(given) == tonumber(redis.call('ZSCORE', WORKERS, worker)) then
      spared[worker] = given
    else
      redis.call('ZADD', WORKERS, until_then, worker)
      spared[worker] = until_then
    end
  end
  redis.call('DEL', SPARED)
  for worker, given in pairs(spared) do redis.call('HSET', SPARED, worker, given) end
  redis.call('PEXPIRE', SPARED, SPARED_FOR)
end
