-- Shared (exchange): the records of the ids taken that lie on shelves. If one cannot be reached, as while its slot moves to
-- another node, all ids go back to where they were taken from.
include 'shelves'
local apart = {}
for i = 1, #ids do
  if not records[i] then
    local name = string.sub(ids[i], 1, 9)
    apart[name] = apart[name] or {}
    apart[name][#apart[name] + 1] = i
  end
end
for name, places in pairs(apart) do
  local shelf = shelf_of(name)
  if shelf then
    local these = {}
    for n, place in ipairs(places) do these[n] = ids[place] end
    local found = redis.pcall('HMGET', shelf, unpack(these))
    if found.err then
      local last = #ids
      for run = #runs, 1, -1 do
        local list, count = runs[run][1], runs[run][2]
        local back = {}
        for i = last, last - count + 1, -1 do back[#back + 1] = ids[i] end
        redis.call('LPUSH', list, unpack(back))
        last = last - count
      end
      return found
    end
    for n, place in ipairs(places) do records[place] = found[n] end
  end
end
