-- Shared (exchange): what there is to do where there are shelves. The records of tasks that are about to be leased,
-- wherever they lie; and which shelves the next call should declare.
include 'shelves'

-- Each once.
local noted = {}
local function note_shelf(id)
  local name = string.sub(id, 1, 9)
  if not noted[name] and redis.call('HEXISTS', SHELVES, name) == 1 then next_shelves[#next_shelves + 1] = name end
  noted[name] = true
end

-- The records of ids, side by side, false for none; the place of the first that may lie on a shelf that was not
-- declared, if there is one; and the shelf on which all lie, if they do.
local function look_up(ids)
  -- They mostly lie together.
  local first = string.sub(ids[1], 1, 9)
  local records = shelves[first] and on_shelf(first, ids) or {}
  local missing = {}
  for i = 1, #ids do
    if not records[i] then missing[#missing + 1] = i end
  end
  if #missing == 0 then return records, nil, first end

  -- Puts what was found for the ids at some places in its place; returns the places for which there was nothing.
  local function fill(records, places, found)
    local left = {}
    for i, place in ipairs(places) do
      if found[i] then records[place] = found[i] else left[#left + 1] = place end
    end
    return left
  end

  local function ids_at(ids, places)
    local some = {}
    for i, place in ipairs(places) do some[i] = ids[place] end
    return some
  end

  local others, apart = {}, {}
  for _, place in ipairs(missing) do
    local name = string.sub(ids[place], 1, 9)
    local group = name ~= first and shelves[name] and (others[name] or {}) or apart
    group[#group + 1] = place
    if group ~= apart then others[name] = group end
  end
  for name, places in pairs(others) do
    for _, place in ipairs(fill(records, places, on_shelf(name, ids_at(ids, places)))) do apart[#apart + 1] = place end
  end
  if #apart > 0 then apart = fill(records, apart, redis.call('HMGET', TASKS, unpack(ids_at(ids, apart)))) end
  local stop
  for _, place in ipairs(apart) do
    records[place] = false
    if undeclared(ids[place]) then stop = math.min(stop or place, place) end
  end
  -- All of them: the next call must not lack one that this one had.
  for i = 1, stop and #ids or 0 do note_shelf(ids[i]) end
  return records, stop, nil
end

-- Notes shelves some way into a list, as far as several calls get that are under way at the same time.
local function look_ahead(list)
  for _, place in ipairs({'0', '300', '1000'}) do
    local id = redis.call('LINDEX', list, place)
    if not id then return end
    note_shelf(id)
  end
end

-- Looks ahead when the last task taken lies on another shelf than the one that was named as the nearest.
local function note_next_shelves(last, list, short, nearest)
  if short then
    for i = FIRST_LIST, LAST_LIST do look_ahead(KEYS[i]) end
  elseif last and string.sub(last, 1, 9) ~= nearest then
    note_shelf(last)
    look_ahead(list)
  end
end

-- Shelves from which something was taken.
local cleared = {}

-- Takes the records of a bucket's acks off their shelf; returns how many were there.
local function clear_all(name, ids, first, last)
  local gone = first <= last and clear(name, ids, first, last) or 0
  if gone > 0 then cleared[#cleared + 1] = name end
  return gone
end

-- Of a shelf that the tasks taken lie on it is known that it is not empty.
local function sweep_all(but)
  for _, name in ipairs(cleared) do
    if name ~= but then sweep(name) end
  end
end
