-- Shared, in every script, behind the names of its keys. KEYS holds those first, in the order in which the script
-- declares them; then LEVELS lists, the highest level's first, retired ones last; then what the script itself adds.
-- ARGV  1 LEVELS; 2 version of the policy the caller knows, '' for none; then the script's own.

-- Milliseconds by the server's clock, the only clock that decides anything.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
