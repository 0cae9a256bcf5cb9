-- Shared: editing the array inside a task's record: created, due, type, attempts, errors. The level before it and
-- the payload behind it stay as they are. Returns whether there was such an array; if not, nothing is changed.
local function edit(id, record, change)
  local zero = string.find(record, '\0', 1, true)
  if not zero then return false end
  local readable, rest, body = pcall(cmsgpack.unpack_one, record, zero)
  if not readable or type(body) ~= 'table' or #body ~= 5 then return false end
  if type(body[4]) ~= 'number' or type(body[5]) ~= 'table' then return false end
  change(body)
  local payload = rest == -1 and '' or string.sub(record, rest + 1)
  redis.call('HSET', TASKS, id, string.sub(record, 1, zero) .. cmsgpack.pack(body) .. payload)
  return true
end
