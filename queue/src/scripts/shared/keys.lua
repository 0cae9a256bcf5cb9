-- Shared, first in every script: the names of the keys and arguments that all of them are called with.
-- KEYS  1..11 as named here; 12..11+LEVELS the lists of the levels, highest first, retired ones last;
--       after those what the script itself adds
-- ARGV  1 number of level lists; 2 version of the policy the caller knows, '' for none; then the script's own
local CONFIG, TASKS, DUE, ACTIVE, WORKERS, INFO, LOST, DEAD, STATS, IDLE, WAKE = unpack(KEYS, 1, 11)
local LEVELS = tonumber(ARGV[1])
local FIRST_LIST, LAST_LIST = 12, 11 + LEVELS

-- Milliseconds by the server's clock, the only clock that decides anything.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether the caller knows the policy in force. A caller that does not must touch no list: it could write
-- one that nobody reads.
local function current()
  return (redis.call('HGET', CONFIG, 'version') or '') == ARGV[2]
end
