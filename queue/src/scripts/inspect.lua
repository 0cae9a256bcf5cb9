-- One task by its id, with its state.
-- KEYS  the id's done bucket
-- returns {'ok', now ms, 'none'}, {'ok', now ms, 'ended', done record}, or {'ok', now ms, state, record, extra, losses or
--         false, progress or false}, where extra is for 'active' the worker, for 'scheduled' the due time, for 'dead' the time of death, for 'waiting' ''
include 'layout'
include 'stored'

local now = now_ms()
local record = record_of(id)
if not record then
  local done = redis.call('HGET', KEYS[LAST_LIST + 1], id)
  return {'ok', now, done and 'ended' or 'none', done}
end
local losses = redis.call('HGET', LOST, id)
local worker = redis.call('HGET', ACTIVE, id)
if worker then return {'ok', now, 'active', record, worker, losses, redis.call('HGET', PROGRESS, id)} end
local due = redis.call('ZSCORE', DUE, id)
if due then return {'ok', now, 'scheduled', record, due, losses} end
local died = redis.call('ZSCORE', DEAD, id)
if died then return {'ok', now, 'dead', record, died, losses} end
return {'ok', now, 'waiting', record, '', losses}
