-- The task that stands for an idempotency key.
-- returns {'ok', now ms, its id, '' if there is none}
include 'keyed'

local now = now_ms()
return {'ok', now, stands_for(key, '', now) or ''}
