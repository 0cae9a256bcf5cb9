-- Shared: what the rate limit lets begin. No more than `count` attempts begin in any span of `per` ms. RATE counts
-- them by the twentieth of the span in which they began; a twentieth counts until all of it is out of the span.

-- How many more may begin now; and when, in ms, more may than that.
local function rate_room(now, count, per)
  local part = per / 20
  local used, oldest = 0, nil
  local begun = redis.call('HGETALL', RATE)
  for i = 1, #begun, 2 do
    local from = tonumber(begun[i])
    if from + part <= now - per or from > now then
      redis.call('HDEL', RATE, begun[i])
    else
      used = used + begun[i + 1]
      if not oldest or from < oldest then oldest = from end
    end
  end
  return math.max(count - used, 0), oldest and math.ceil(oldest + part + per)
end

local function rate_use(now, per, count)
  local part = per / 20
  redis.call('HINCRBY', RATE, text(math.floor(now / part) * part), text(count))
  redis.call('PEXPIRE', RATE, text(per * 2))
end
