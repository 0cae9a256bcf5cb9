-- The number of the queue's workers was changed: told to who listens, and to the log of ends if there is one.
-- `numbers` are the one before and the one from now on; `equation` why, as text; `entry` what the log says
-- returns {'ok', now ms}
include 'log'

local now = now_ms()
include 'live'
if live then
  include 'tell'
  tell('scaled', '', numbers, '', equation, '')
  flush()
end
log({'', entry}, 1, 2)
return {'ok', now}
