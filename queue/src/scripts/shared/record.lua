-- Shared: reading a task's record: its level's name, one byte, a packed array, the payload. The byte is 1 when the
-- array has a sixth element, an array of: when it expires in ms, unique key, concurrency key, four
-- others, idempotency key, and more that no script reads; 0 and '' stand for none.
local function body_of(record)
  local mark = string.find(record, '[%z\1]')
  if not mark then return nil end
  local readable, rest, body = pcall(cmsgpack.unpack_one, record, mark)
  if not readable or type(body) ~= 'table' then return nil end
  if type(body[1]) ~= 'number' or type(body[2]) ~= 'number' then return nil end
  if type(body[4]) ~= 'number' or type(body[5]) ~= 'table' then return nil end
  return body, mark, rest
end

-- When it expires, its unique key, its concurrency key and its idempotency key: 0 and '' for none.
local function extras_of(record)
  local mark = string.find(record, '[%z\1]')
  if not mark or string.byte(record, mark) == 0 then return 0, '', '', '' end
  local body = body_of(record)
  local extras = body and body[6]
  if type(extras) ~= 'table' then return 0, '', '', '' end
  local idempotency = type(extras[8]) == 'string' and extras[8] or ''
  return tonumber(extras[1]) or 0, extras[2] or '', extras[3] or '', idempotency
end
