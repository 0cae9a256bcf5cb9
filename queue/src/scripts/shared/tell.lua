-- Shared: telling live events, included where `live` says that somebody listens. LIVE is a stream. An entry has events of one
-- call: `n`, the number of the first, then six values for each: what happened, the task's id, who did it, cause and number of
-- the attempt, what was said, and the beginning of the task's record, which has its type.
-- The stream is cut by sixteenths of its bytes: CONFIG has the entry with which each began.
local SIXTEENTH, MOST_OF_ENTRY, MOST_SAID, MOST_OF_RECORD = 262144, 4096, 1024, 224
local told = {}

local function tell(what, id, by, why, said, record)
  local at = #told
  told[at + 1], told[at + 2], told[at + 3], told[at + 4] = what, id, by, why
  told[at + 5], told[at + 6] = string.sub(said, 1, MOST_SAID), string.sub(record, 1, MOST_OF_RECORD)
end

local function append_told(first, last, bytes)
  local count = (last - first + 1) / 6
  local number = redis.call('HINCRBY', CONFIG, 'told', text(count)) - count + 1
  local all = redis.call('HINCRBY', CONFIG, 'told_bytes', text(bytes))
  local entry = redis.call('XADD', LIVE, '*', 'n', text(number), unpack(told, first, last))
  if math.floor(all / SIXTEENTH) == math.floor((all - bytes) / SIXTEENTH) then return end
  local mark = 'told_' .. text(math.floor(all / SIXTEENTH) % 16)
  local oldest = redis.call('HGET', CONFIG, mark)
  redis.call('HSET', CONFIG, mark, entry)
  if oldest then redis.call('XTRIM', LIVE, 'MINID', oldest) end
end

-- Writes what was told. Where it cannot be written that holds up nothing.
local function flush()
  local first, bytes = 1, 64
  for i = 1, #told, 6 do
    for place = i, i + 5 do bytes = bytes + #told[place] + 4 end
    if bytes >= MOST_OF_ENTRY or i + 5 == #told then
      if not pcall(append_told, first, i + 5, bytes) then
        redis.call('HINCRBY', STATS, 'untold', text((i + 6 - first) / 6))
      end
      first, bytes = i + 6, 64
    end
  end
end
