-- Shared (exchange): taking runnable ids out of the lists in whatever order the policy says.
include 'record'
include 'ghosts'
include 'stored'
include 'laid'
include 'strict'

-- How many ghosts one call still lays before it looks at a list's first task.
local patience = 2000

-- Since when the first task of a list is runnable, in ms; nil for an empty list, 0 for a list to take from in any case.
local function since(list)
  local laid, from = {}, nil
  local id = redis.call('LINDEX', list, '0')
  while id do
    local record = record_of(id)
    local body = record and body_of(record)
    if body then from = math.max(body[1], body[2]) break end
    if record or patience == 0 then from = 0 break end
    redis.call('LPOP', list)
    laid[#laid + 1], patience = id, patience - 1
    id = redis.call('LINDEX', list, '0')
  end
  if #laid > 0 then lay(list, laid) end
  return from
end

-- Each level down counts as `aging` ms of waiting less: whoever has the earliest such time goes first. So a task
-- that is runnable now goes before all of a lower level that have waited for less than that.
local function take_with_aging(wanted, now, aging)
  local times, aged, above = {}, false, nil
  for i = FIRST_LIST, LAST_LIST do
    local from = since(KEYS[i])
    if from then
      times[i] = from + (i - FIRST_LIST) * aging
      if above and times[i] < now + (above - FIRST_LIST) * aging then aged = true end
      above = i
    end
  end
  if not aged then return take_strictly({}, wanted) end
  local ids = {}
  while #ids < wanted do
    local first
    for i = FIRST_LIST, LAST_LIST do
      if times[i] and (not first or times[i] < times[first]) then first = i end
    end
    if not first then break end
    ids[#ids + 1] = redis.call('LPOP', KEYS[first])
    runs[#runs + 1] = {KEYS[first], 1}
    local from = since(KEYS[first])
    times[first] = from and from + (first - FIRST_LIST) * aging
  end
  return ids
end

-- Levels that have tasks share what is taken by their weights. Turn after turn steps through 0..1 by the golden
-- ratio, which spreads evenly over any number of turns, and the level in whose part of 0..1 it falls is served.
local function take_by_weight(wanted, weights)
  local left, shares, sum = {}, {}, 0
  for i = FIRST_LIST, LAST_LIST do
    left[i] = redis.call('LLEN', KEYS[i])
    shares[i] = weights[i - FIRST_LIST + 1] or 1
    if left[i] > 0 then sum = sum + shares[i] end
  end
  local turn = tonumber(redis.call('HGET', STATS, 'turn') or 0)
  local counts, picked = {}, 0
  while picked < wanted and sum > 0 do
    turn = turn + 1
    local at = (turn * 0.6180339887498949) % 1 * sum
    local chosen
    for i = FIRST_LIST, LAST_LIST do
      if left[i] > 0 then
        chosen = i
        at = at - shares[i]
        if at < 0 then break end
      end
    end
    counts[chosen] = (counts[chosen] or 0) + 1
    picked = picked + 1
    left[chosen] = left[chosen] - 1
    if left[chosen] == 0 then sum = sum - shares[chosen] end
  end
  if picked > 0 then redis.call('HSET', STATS, 'turn', text(turn % 1000003)) end
  local ids = {}
  for i = FIRST_LIST, LAST_LIST do
    if counts[i] then
      runs[#runs + 1] = {KEYS[i], counts[i]}
      for _, id in ipairs(redis.call('LPOP', KEYS[i], text(counts[i]))) do ids[#ids + 1] = id end
    end
  end
  return ids
end

-- `order` is '' for strict, 'a' and the ms of aging, or 'w' and the weights; `ghosts` whether there may be any.
local function take(order, wanted, now, ghosts)
  -- Many cancelled tasks at the head of a list must not cost a round trip each.
  if ghosts then
    for i = FIRST_LIST, LAST_LIST do
      if ghosts_in(KEYS[i]) ~= 0 then since(KEYS[i]) end
    end
  end
  if order == '' then return take_strictly({}, wanted) end
  local kind, rest = string.sub(order, 1, 1), string.sub(order, 2)
  if kind == 'a' then return take_with_aging(wanted, now, tonumber(rest)) end
  local weights = {}
  for weight in string.gmatch(rest, '%d+') do weights[#weights + 1] = tonumber(weight) end
  return take_by_weight(wanted, weights)
end
