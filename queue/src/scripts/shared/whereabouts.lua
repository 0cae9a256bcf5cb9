-- Shared (page): where a listing goes on in a list of waiting ids, of which the first are taken out all the while. New ones come
-- behind the last, some come back before the first, and seldom one is moved elsewhere; so how far it is from one to another behind
-- it hardly ever changes.
local ANCHOR_SEARCHED, SEARCHED = 30000, 10000

-- The place of an id, if it is so near to one of the ends; else false.
local function place_of(list, id, depth)
  return redis.call('LPOS', list, id, 'RANK', '-1', 'MAXLEN', text(depth)) or redis.call('LPOS', list, id, 'MAXLEN', text(depth))
end

-- The place of the next entry, and of the last one; none if that cannot be told. If the next is behind the last there is none.
local function next_in(list)
  local length = redis.call('LLEN', list)
  if anchor == '' then return 0, length - 1 end
  local place = place_of(list, anchor, ANCHOR_SEARCHED)
  if place then
    local first = place - ahead + 1
    if first > 0 and redis.call('LINDEX', list, text(first - 1)) ~= ARGV[REST] then
      -- It has gone, or some between the two have: it comes behind the last that is still there of those looked at.
      local from, behind_id = math.max(first - 3, 0), {}
      local around = redis.call('LRANGE', list, text(from), text(math.min(first + 999, place)))
      for i, id in ipairs(around) do behind_id[id] = from + i end
      for i = REST, #ARGV do
        if behind_id[ARGV[i]] then
          first = behind_id[ARGV[i]]
          break
        end
      end
    end
    return math.max(first, 0), length - 1
  end
  for i = REST, #ARGV do
    place = place_of(list, ARGV[i], SEARCHED)
    if place then return place + 1, length - 1 end
  end
  -- They were taken out, and so was all before them; what is there now came later.
  if length <= 2 * SEARCHED then return length, length - 1 end
end
