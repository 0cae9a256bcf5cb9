-- Dead letters thrown away.
-- ARGV  3 only deaths at this time in ms or before, '' for now; 4 most to throw away; 5 how many of the oldest to
--       pass over; then ids, or none for all
-- returns {'ok', now ms, thrown away, 0, none}, as redrive.lua does
include 'ahead'
include 'letters'
include 'discard'

local now = now_ms()
bring_back(DEAD, now)
local ids = letters(6, ARGV[3] ~= '' and ARGV[3] or text(now), ARGV[5], ARGV[4])
discard(ids)
return {'ok', now, #ids, 0, {}}
