-- Shared (settle): workers that read of a failure no more than attempt, time, cause and message, and take a record that says
-- more for none. They do not say which layout they read.
include 'numbers'

-- Whether one is registered. Looked at anew when there are more workers or fewer, and every ten seconds.
local function has_elders(now)
  local count = redis.call('HLEN', INFO)
  local at, before, found = string.match(redis.call('HGET', CONFIG, 'elders') or '', '^(%d+) (%d+) ([01])$')
  if at and tonumber(before) == count and math.abs(now - at) < 10000 then return found == '1' end
  found = '0'
  for _, info in ipairs(redis.call('HVALS', INFO)) do
    if not string.find(info, '"layout":', 1, true) then found = '1' end
  end
  redis.call('HSET', CONFIG, 'elders', text(now) .. ' ' .. text(count) .. ' ' .. found)
  return found == '1'
end

-- The record as they read it: all but the failures stays as it is, byte for byte.
local function in_short(record)
  local body, mark = body_of(record)
  if not body then return record end
  local short = {}
  for i, failure in ipairs(body[5]) do
    if type(failure) ~= 'table' then return record end
    short[i] = {failure[1], failure[2], failure[3], failure[4]}
  end
  -- Behind the times, the type and the attempts.
  local at = first_in(record, mark)
  for _ = 1, 4 do at = behind(record, at) end
  return string.sub(record, 1, at) .. cmsgpack.pack(short) .. string.sub(record, behind(record, at) + 1)
end
