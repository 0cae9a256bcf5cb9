-- Shared (page): how many members of a sorted set come before this one, which need not be there; with it if `included`.
local function rank_of(set, of_score, of_member, included)
  local low = redis.call('ZCOUNT', set, '-inf', '(' .. of_score)
  local high = redis.call('ZCOUNT', set, '-inf', of_score)
  -- Those with the same score are in the order of their names.
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = redis.call('ZRANGE', set, text(middle), text(middle))[1]
    if found < of_member or included and found == of_member then low = middle + 1 else high = middle end
  end
  return low
end
