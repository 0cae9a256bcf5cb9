-- Shared: the end of a task that is more than an ack (see exchange.lua): whatever ends it, it ends here.
include 'done'
include 'drop'
include 'unique'
include 'lapse'
include 'vacate'
include 'places'

-- It holds no place of its concurrency key any more.
local function leave_place(id, kept)
  if not kept then
    vacate({id})
    return
  end
  local _, _, key = extras_of(kept)
  give_back(id, key)
end

-- Nobody is to cancel it any more, and its keys are free, but for its idempotency key: returns that, '' for none. `runs` says
-- whether it may hold a place of its concurrency key.
local function let_go_of_all(id, kept, runs)
  redis.call('SREM', CANCEL, id)
  local idempotency = kept and let_go(id, kept) or ''
  if runs then leave_place(id, kept) end
  return idempotency
end

-- It has ended: its done record is all that is left of it.
local function finish(id, kept, runs, bucket, record, retention, now)
  put_done(bucket, {id, record}, 1, 2, retention, now)
  drop(id)
  begin_lapse(let_go_of_all(id, kept, runs), id, now)
end

-- It is a dead letter, which may go round again, and so keeps its idempotency key. `entry` is what the log says of that, '' for nothing.
local function bury(id, kept, record, entry, now)
  rewrite(id, record)
  redis.call('ZADD', DEAD, text(now), id)
  let_go_of_all(id, kept, true)
  if entry ~= '' then log({id, entry}, 1, 2) end
end
