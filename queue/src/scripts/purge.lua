-- Dead letters thrown away.
-- ARGV  3 only deaths at this time in ms or before, '' for now; 4 most to throw away; then ids, or none for all
-- returns {'ok', now ms, thrown away}
local now = now_ms()
local ids = letters(5, ARGV[3] ~= '' and ARGV[3] or now, 0, ARGV[4])
discard(ids)
return {'ok', now, #ids}
