-- Shared: changing numbers in the array inside a task's record (see record.lua) where they stand. All else stays as it is, byte
-- for byte: Lua's numbers have no room for all that a record may hold, such as the id of a span.
include 'record'

-- Where the first value of the array lies that begins behind `at` bytes.
local function first_in(record, at)
  local kind = string.byte(record, at + 1)
  return at + (kind == 220 and 3 or kind == 221 and 5 or 1)
end

-- Where the value lies that comes behind the one at `at`.
local function behind(record, at)
  local following = cmsgpack.unpack_one(record, at)
  return following == -1 and #record or following
end

-- The record with this number in place of the one at `at`.
local function with_number(record, at, number)
  return string.sub(record, 1, at) .. cmsgpack.pack(number) .. string.sub(record, behind(record, at) + 1)
end

-- The record of a task that is runnable from now on; nil for one that cannot be read. Also where what follows the time begins.
local function runnable_from(record, now)
  local body, mark = body_of(record)
  if not body then return nil end
  local at = behind(record, first_in(record, mark))
  record = with_number(record, at, now)
  return record, behind(record, at)
end
