-- Replaces the record of a task that does not run; of a dead letter, sends it round again as well, if that is wanted.
-- `id` is the task's; `known` its record as the caller knows it; `record` the new one, of the same level and keys; `retry` '1' to
-- send a dead letter round again; `wakes` '1' to wake workers; `channel` where to announce `queue`, its name; `longest_key` how
-- long a unique key can be held at most, in ms
-- returns {'stale'} with nothing done, or {'ok', now ms, what, ''}: 'done'; 'retried' for a letter that goes round again; and
--         with nothing done 'active' when it runs, 'changed' when its record is another one, 'gone' without one, or 'outdone'
--         with the id of the task that has its unique key in place of ''
include 'current'
include 'layout'
include 'wake'
include 'revive'

if not current() then return {'stale'} end
local now = now_ms()
include 'live'
local kept = record_of(id)
if not kept then return {'ok', now, 'gone', ''} end
if redis.call('HEXISTS', ACTIVE, id) == 1 then return {'ok', now, 'active', ''} end
if kept ~= known then return {'ok', now, 'changed', ''} end
if retry ~= '1' or not redis.call('ZSCORE', DEAD, id) then
  rewrite(id, record)
  if live then
    include 'tell'
    tell('edited', id, '', '', '', record)
    flush()
  end
  return {'ok', now, 'done', ''}
end
local moves, holder = revive(id, record, now, longest_key)
if not moves then return {'ok', now, holder and 'outdone' or 'changed', holder or ''} end
local appended, was_empty = send_round({id}, {record})
if wakes == '1' then wake(appended) end
if was_empty then redis.call('PUBLISH', channel, queue) end
if live then
  include 'tell'
  tell('edited', id, '', '', '', record)
  tell('redriven', id, '', '', '', record)
  flush()
end
return {'ok', now, 'retried', ''}
