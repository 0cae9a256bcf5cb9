-- Shared: editing the array inside a task's record: created, due, type, attempts, errors, extras. The level before
-- it and the payload behind it stay as they are. Returns whether there was such an array; if not, nothing is changed.
include 'record'
include 'stored'
local function edit(id, record, change)
  local body, mark, rest = body_of(record)
  if not body then return false end
  change(body)
  local payload = rest == -1 and '' or string.sub(record, rest + 1)
  rewrite(id, string.sub(record, 1, mark) .. cmsgpack.pack(body) .. payload)
  return true
end
