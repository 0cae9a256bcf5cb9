-- Shared, in every script, behind the names of its keys and of its arguments. KEYS holds those keys first, in the order in
-- which the script declares them; then LEVELS lists, the highest level's first, retired ones last; then what the script
-- itself adds. ARGV holds LEVELS; the version of the policy that the caller knows, '' for none; the arguments that the script
-- declares (see `script.rs`); and from REST on what it adds to them.

-- How many ids this call came upon whose tasks are missing (see missing.lua).
local missing = 0

-- Milliseconds by the server's clock, the only clock that decides anything.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as commands are given it. No command is given a number of Lua, not even a fixed one, which stands in
-- quotes: some servers (7.2) would write 1e+8 for it, which many commands refuse and others store.
local function text(number) return string.format('%.0f', number) end
