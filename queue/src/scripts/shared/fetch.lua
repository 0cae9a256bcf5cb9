-- Shared (exchange): the records of tasks that are about to be leased, wherever they lie.

-- Whether there is any shelf. Read before anything is done, as it might be no hash.
local shelved = redis.call('HLEN', SHELVES) > 0

-- Which shelves a next call should declare, each once.
local next_shelves = {}
local function note_shelf(id)
  local name = string.sub(id, 1, 9)
  if next_shelves[name] == nil then
    next_shelves[name] = redis.call('HEXISTS', SHELVES, name) == 1
    if next_shelves[name] then next_shelves[#next_shelves + 1] = name end
  end
end

-- Looks on the declared shelves. Returns the records found, by place; from which shelf they are, as its name, first and
-- last place; and the places of those not found.
local function look_on_shelves(ids)
  local records, sources, elsewhere = {}, {}, {}
  local first = 1
  while first <= #ids do
    local name, last = string.sub(ids[first], 1, 9), first
    while last < #ids and string.sub(ids[last + 1], 1, 9) == name do last = last + 1 end
    local found = shelves[name] and on_shelf(name, ids, first, last) or {}
    local left = #elsewhere
    for i = first, last do
      local record = found[i - first + 1]
      if record then records[i] = record else elsewhere[#elsewhere + 1] = i end
    end
    if #elsewhere - left <= last - first then sources[#sources + 1] = {name, first, last} end
    first = last + 1
  end
  return records, sources, elsewhere
end

-- The records of ids, side by side, false for none; the shelves that some are from; and the place of the first that
-- may lie on a shelf that was not declared, if there is one.
local function look_up(ids)
  if not shelved then return redis.call('HMGET', TASKS, unpack(ids)), {}, nil end
  local records, sources, elsewhere = look_on_shelves(ids)
  if #elsewhere > 0 then
    local others = {}
    for i, place in ipairs(elsewhere) do others[i] = ids[place] end
    local stop
    for i, record in ipairs(redis.call('HMGET', TASKS, unpack(others))) do
      records[elsewhere[i]] = record
      if not record and undeclared(others[i]) then
        note_shelf(others[i])
        stop = stop or elsewhere[i]
      end
    end
    return records, sources, stop
  end
  return records, sources, nil
end

-- Puts the records that are on shelves into TASKS.
local function unshelve(ids, records, sources)
  for _, source in ipairs(sources) do
    local name, first, last = source[1], source[2], math.min(source[3], #ids)
    if first > last then return end
    local moved = {}
    for i = first, last do
      if records[i] then moved[#moved + 1], moved[#moved + 2] = ids[i], records[i] end
    end
    if #moved > 0 then redis.call('HSET', TASKS, unpack(moved)) end
    clear(name, ids, first, last)
  end
end

-- Notes the shelves of the tasks at the heads of the lists and some way behind, as far as several calls get that are
-- under way at the same time.
local AHEAD = {0, 300, 1000}
local function look_ahead()
  for i = FIRST_LIST, shelved and LAST_LIST or 0 do
    for _, place in ipairs(AHEAD) do
      local id = redis.call('LINDEX', KEYS[i], place)
      if not id then break end
      note_shelf(id)
    end
  end
end
