-- What keeps workers from taking tasks, for whoever looks after them. The last word of any of them is kept.
-- `fault` is '' for none any more; `kept` how long it is kept unless it is told again, in ms
-- returns {'ok', now ms}
if fault == '' then redis.call('DEL', FAULT) else redis.call('SET', FAULT, fault, 'PX', kept) end
return {'ok', now_ms()}
