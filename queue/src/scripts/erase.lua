-- Deletes keys of the queue, if nobody works for it.
-- KEYS  the keys to delete
-- `force` is '1' to delete them whoever works for it
-- returns {'held', now ms, how many workers} with nothing done, or {'ok', now ms, how many of the keys there were}
local now = now_ms()
local workers = redis.call('ZCARD', WORKERS)
if workers > 0 and force ~= '1' then return {'held', now, workers} end
local gone = 0
for i = LAST_LIST + 1, #KEYS do gone = gone + redis.call('UNLINK', KEYS[i]) end
return {'ok', now, gone}
