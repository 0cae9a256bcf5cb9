-- Shared (exchange): puts back what was taken from a place on. Of what was taken by weight it puts back all, so that the
-- turns are as if nothing had been taken. Returns how many are left.
include 'strict'
local function put_back(ids, first)
  if turn_before then
    redis.call('HSET', STATS, 'turn', text(turn_before))
    first = 1
  end
  while #ids >= first do
    local run = runs[#runs]
    local stay = math.max(#ids - run[2], first - 1)
    local back = {}
    for i = #ids, stay + 1, -1 do back[#back + 1], ids[i] = ids[i], nil end
    redis.call('LPUSH', run[1], unpack(back))
    run[2] = run[2] - #back
    if run[2] == 0 then runs[#runs] = nil end
  end
  return #ids
end
