-- Shared: records that come many at a time lie on shelves, small hashes named by the first nine characters of their tasks'
-- ids; all others in TASKS. So what is written or read together lies together, however much there is. SHELVES says since when
-- there is each shelf. A shelf is found by the id and never declared: it is in the slot of the queue.
local SHELF = string.sub(SHELVES, 1, -#'shelves' - 1) .. 'shelf:'

-- The key of the shelf of this name, nil if there is none.
local function shelf_of(name)
  return redis.call('HEXISTS', SHELVES, name) == 1 and SHELF .. name or nil
end

-- Takes records off a shelf, those of `ids` from `first` to `last`. Returns how many were there.
local function clear(name, ids, first, last)
  local shelf = shelf_of(name)
  if not shelf then return 0 end
  local gone = redis.call('HDEL', shelf, unpack(ids, first, last))
  -- With nothing on it there is none.
  if redis.call('EXISTS', shelf) == 0 then redis.call('HDEL', SHELVES, name) end
  return gone
end
