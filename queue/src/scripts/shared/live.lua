-- Shared: whether somebody listens to live events (see listen.lua and tell.lua), by `now` of who includes it. A time further
-- ahead than any listener sets, and 5 s, is from before the clock went back.
include 'current'
local live = config[2] and (tonumber(config[2]) or 0) > now and tonumber(config[2]) <= now + 20000
