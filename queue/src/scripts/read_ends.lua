-- Entries of the log of ends (see log.lua) for one reader of a group: what was given to it and is not acknowledged, behind
-- `pending`, an entry, unless that is ''; else what others were given and have not acknowledged for `idle` ms; else what
-- nobody of the group was given yet. A new group begins with the oldest.
-- `most` is how many entries to return; `room` after how many bytes no more are
-- returns {'ok', now ms, ids of entries, how many fields each has, the fields and values of all, how many ends the group has
--         missed since it began, how many ends it was not given yet}
-- READERS has for each group the number of the end that it is to be given next, and how many it missed.
local now = now_ms()
local skipped_of = group .. ' skipped'

-- The first time, and again where the server has lost the stream.
local made = redis.pcall('XGROUP', 'CREATE', ENDS, group, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then return made end
redis.call('HSETNX', READERS, group, redis.call('HGET', STATS, 'log_begins') or '1')

local function read(from)
  local found = redis.call('XREADGROUP', 'GROUP', group, reader, 'COUNT', most, 'STREAMS', ENDS, from)
  return found and found[1] and found[1][2] or {}
end

local entries = pending ~= '' and read(pending) or {}
if #entries == 0 then entries = redis.call('XAUTOCLAIM', ENDS, group, reader, idle, '0-0', 'COUNT', most)[2] end
local fresh = #entries == 0
if fresh then entries = read('>') end

local expected, skipped = tonumber(redis.call('HGET', READERS, group)), 0
local ids, lengths, fields, left = {}, {}, {}, tonumber(room)
for _, entry in ipairs(entries) do
  local id, values = entry[1], entry[2] or {}
  local number = values[1] == 'n' and tonumber(values[2])
  if fresh and number then
    if number > expected then skipped = skipped + number - expected end
    expected = number + (#values - 2) / 2
  end
  -- What is not told now was given to this reader all the same, and is told by its next look at what is pending.
  if left > 0 then
    ids[#ids + 1], lengths[#lengths + 1] = id, #values
    for _, value in ipairs(values) do
      fields[#fields + 1] = value
      left = left - #value
    end
  end
end
if fresh and #entries > 0 then redis.call('HSET', READERS, group, text(expected)) end
if skipped > 0 then redis.call('HINCRBY', READERS, skipped_of, text(skipped)) end
local logged = tonumber(redis.call('HGET', STATS, 'logged') or 0)
return {
  'ok', now, ids, lengths, fields, tonumber(redis.call('HGET', READERS, skipped_of) or 0),
  math.max(logged - expected + 1, 0),
}
