-- One task by its id, with its state.
-- KEYS  the id's done bucket and its shelf
-- ARGV  3 id; 4 length of a span in ms (see later.rs)
-- returns {'none'}, {'ended', done record}, or {state, record, extra, losses or false, progress or false}, where extra
--         is for 'active' the worker, for 'scheduled' the due time, for 'dead' the time of death, for 'waiting' ''
include 'record'

local id = ARGV[3]
local record = redis.call('HGET', TASKS, id) or redis.call('HGET', KEYS[LAST_LIST + 2], id)
if not record then
  local done = redis.call('HGET', KEYS[LAST_LIST + 1], id)
  return done and {'ended', done} or {'none'}
end
local losses = redis.call('HGET', LOST, id)
local worker = redis.call('HGET', ACTIVE, id)
if worker then return {'active', record, worker, losses, redis.call('HGET', PROGRESS, id)} end
local due = redis.call('ZSCORE', DUE, id)
if due then return {'scheduled', record, due, losses} end
local died = redis.call('ZSCORE', DEAD, id)
if died then return {'dead', record, died, losses} end
local body = body_of(record)
if body and body[2] > now_ms() and redis.call('ZSCORE', LATER, text(math.floor(body[2] / ARGV[4]))) then
  return {'scheduled', record, text(body[2]), losses}
end
return {'waiting', record, '', losses}
