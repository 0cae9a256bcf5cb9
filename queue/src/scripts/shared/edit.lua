-- Shared: editing the array inside a task's record: created, due, type, attempts, errors, extras. The level before
-- it and the payload behind it stay as they are.
include 'record'
include 'stored'

-- The record as `change` makes it; nil if there is no such array.
local function edited(record, change)
  local body, mark, rest = body_of(record)
  if not body then return nil end
  change(body)
  local payload = rest == -1 and '' or string.sub(record, rest + 1)
  return string.sub(record, 1, mark) .. cmsgpack.pack(body) .. payload
end

-- Writes it so. Whether there was such an array; if not, nothing is changed.
local function edit(id, record, change)
  local new = edited(record, change)
  if new then rewrite(id, new) end
  return new ~= nil
end
