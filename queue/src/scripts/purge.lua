-- Dead letters thrown away.
-- `before`: only deaths at this time in ms or before, '' for now; `most` to throw away; `skip` how many of the oldest to pass
-- over. REST: ids, or none for all
-- returns {'ok', now ms, thrown away, 0, none}, as redrive.lua does
include 'ahead'
include 'letters'

local now = now_ms()
include 'discard'
bring_back(DEAD, now)
local ids = letters(before ~= '' and before or text(now), skip, most)
discard(ids, now)
return {'ok', now, #ids, 0, {}}
