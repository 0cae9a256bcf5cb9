-- Shared (exchange): taking runnable ids out of the lists, at most `wanted`. Ids whose tasks are gone are among them.

-- What was taken from which list, one behind the other.
local runs = {}

-- The highest level first.
local function take_strictly(ids, wanted)
  for i = FIRST_LIST, LAST_LIST do
    local part = redis.call('LPOP', KEYS[i], text(wanted - #ids))
    if part then
      runs[#runs + 1] = {KEYS[i], #part}
      if #ids == 0 then
        ids = part
      else
        for _, id in ipairs(part) do ids[#ids + 1] = id end
      end
      if #ids == wanted then break end
    end
  end
  return ids
end
