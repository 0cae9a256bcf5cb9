-- Shared: the log of ends, where the policy asks for one: then CONFIG's `log` says how many ends and bytes it may hold. ENDS
-- is a stream. An entry has the ends of one call: `n`, the number of the first of them, then the id and the record of each.
-- It is cut by sixteenths: ENDMARKS has for each its first entry, the number of the first end in it, and the bytes before.
include 'current'
local log_bounds = config[3]

local function mark_at(place)
  local mark = redis.call('LINDEX', ENDMARKS, place)
  if not mark then return nil end
  local entry, number, bytes = string.match(mark, '^(%d+%-%d+) (%d+) (%d+)$')
  return {entry = entry or '0-0', number = tonumber(number or 0), bytes = tonumber(bytes or 0)}
end

-- The ends of `list` from `first` to `last`, ids and records by turns.
local function append_to_log(list, first, last)
  local most, most_bytes = string.match(log_bounds, '^(%d+) (%d+)$')
  local count, bytes = (last - first + 1) / 2, 0
  for i = first, last do bytes = bytes + #list[i] end
  local number = redis.call('HINCRBY', STATS, 'logged', text(count)) - count + 1
  local before = redis.call('HINCRBY', STATS, 'logged_bytes', text(bytes)) - bytes
  local entry = redis.call('XADD', ENDS, '*', 'n', text(number), unpack(list, first, last))

  local function sixteenths(of_ends, of_bytes) return math.floor(of_ends * 16 / most), math.floor(of_bytes * 16 / most_bytes) end
  local oldest = mark_at('0')
  local by_count, by_bytes = sixteenths(number - 1, before)
  local by_count_now, by_bytes_now = sixteenths(number - 1 + count, before + bytes)
  if oldest and by_count == by_count_now and by_bytes == by_bytes_now then return end
  redis.call('RPUSH', ENDMARKS, entry .. ' ' .. text(number) .. ' ' .. text(before))
  local function is_over(mark)
    return number - mark.number + count > most * 15 / 16 or before + bytes - mark.bytes > most_bytes * 15 / 16
  end
  local cut = false
  while oldest and is_over(oldest) and redis.call('LLEN', ENDMARKS) > 1 do
    redis.call('LPOP', ENDMARKS)
    oldest, cut = mark_at('0'), true
  end
  if cut then
    redis.call('XTRIM', ENDS, 'MINID', oldest.entry)
    redis.call('HSET', STATS, 'log_begins', text(oldest.number))
  end
end

-- A log that cannot be written holds up nothing.
local function log(list, first, last)
  if log_bounds and not pcall(append_to_log, list, first, last) then
    redis.call('HINCRBY', STATS, 'unlogged', text((last - first + 1) / 2))
  end
end
