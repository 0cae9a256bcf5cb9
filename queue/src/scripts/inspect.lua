-- One task by its id, with its state.
-- KEYS  the id's done bucket
-- returns {'ok', now ms, 'none'}, {'ok', now ms, 'ended', done record, info}, {'ok', now ms, 'active', record, worker, losses,
--         progress, info, since when it runs in ms}, or {'ok', now ms, state, record, extra, losses}, where extra is for
--         'scheduled' the due time, for 'dead' the time of death, for 'waiting' ''; info is what the worker says of itself;
--         false stands for what is not known
include 'layout'
include 'stored'

local now = now_ms()
local record = record_of(id)
if not record then
  local done = redis.call('HGET', KEYS[LAST_LIST + 1], id)
  if not done then return {'ok', now, 'none'} end
  -- Its worker is the eighth in the array, whose head has three bytes or one; what follows not every Lua can read.
  local fields = {pcall(cmsgpack.unpack_limit, done, 8, string.byte(done) == 220 and 3 or 1)}
  local by = fields[1] and fields[10]
  return {'ok', now, 'ended', done, type(by) == 'string' and redis.call('HGET', INFO, by)}
end
local losses = redis.call('HGET', LOST, id)
local worker = redis.call('HGET', ACTIVE, id)
if worker then
  local progress, info = redis.call('HGET', PROGRESS, id), redis.call('HGET', INFO, worker)
  local runs = redis.pcall('HGET', RUNS, worker)
  local since = type(runs) == 'string' and string.match(runs, id .. ' (%d+)')
  return {'ok', now, 'active', record, worker, losses, progress, info, since or false}
end
local due = redis.call('ZSCORE', DUE, id)
if due then return {'ok', now, 'scheduled', record, due, losses} end
local died = redis.call('ZSCORE', DEAD, id)
if died then return {'ok', now, 'dead', record, died, losses} end
return {'ok', now, 'waiting', record, '', losses}
