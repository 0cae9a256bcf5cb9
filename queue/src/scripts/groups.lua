-- Kinds of failures (see group.lua), the one that was seen last first.
-- `most` is how many to return; `longest` how long what is told of one may be
-- returns {'ok', now ms, fingerprints, when each was seen last in ms, what is told of each, its figures, how many there were
--         that are forgotten since}
local now = now_ms()
local dropped = tonumber(redis.call('HGET', STATS, 'groups_dropped') or 0) or 0
local found = redis.call('ZREVRANGE', GROUPS, '0', text(most - 1), 'WITHSCORES')
local fingerprints, seen, told, figures = {}, {}, {}, {}
for i = 1, #found, 2 do
  -- What others have written may be of any size, and is none of ours.
  local group = #found[i] == 16 and redis.call('HMGET', GROUPED, found[i], 'n' .. found[i])
  if group and group[1] and group[2] and #group[1] <= tonumber(longest) and #group[2] <= 128 then
    fingerprints[#fingerprints + 1], seen[#seen + 1] = found[i], found[i + 1]
    told[#told + 1], figures[#figures + 1] = group[1], group[2]
  end
end
return {'ok', now, fingerprints, seen, told, figures, dropped}
