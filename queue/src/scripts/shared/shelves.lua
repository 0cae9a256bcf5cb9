-- Shared: shelves. Records that come many at a time do not go into TASKS but onto shelves: small hashes, each of tasks
-- whose ids begin with the same nine characters. So the records that are written or read together lie together, however
-- many there are. A record stays there until it is written anew, which is in TASKS, or its task ends. SHELVES says since
-- when there is each of them. A script looks on those only that its caller has declared, and tells which others it
-- came upon.
local shelves = {}

-- Without a range, they are the second half of what the script itself adds to KEYS, behind as many done buckets.
local function declare_shelves(first, last)
  for i = first or LAST_LIST + (#KEYS - LAST_LIST) / 2 + 1, last or #KEYS do
    shelves[string.sub(KEYS[i], -9)] = KEYS[i]
  end
end

-- The records of ids on a declared shelf, side by side, false for none.
local function on_shelf(name, ids)
  -- Something else in its place holds none, and is no reason to stop half-way.
  local found = redis.pcall('HMGET', shelves[name], unpack(ids))
  return found.err and {} or found
end

-- Whether an id's record may lie on a shelf that was not declared.
local function undeclared(id)
  local name = string.sub(id, 1, 9)
  if shelves[name] or #name < 9 or string.find(name, '[^0-9a-v]') then return false end
  return redis.call('HEXISTS', SHELVES, name) == 1
end

-- Takes records off a declared shelf, which `sweep` is to follow. Returns how many were there.
local function clear(name, ids, first, last)
  local gone = redis.pcall('HDEL', shelves[name], unpack(ids, first, last))
  return type(gone) == 'number' and gone or 0
end

-- A shelf with nothing on it is none.
local function sweep(name)
  if redis.call('EXISTS', shelves[name]) == 0 then redis.call('HDEL', SHELVES, name) end
end
