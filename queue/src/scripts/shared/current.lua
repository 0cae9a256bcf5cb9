-- Shared: what calls go by of the queue's config, in one look: the version of the policy in force, until when somebody listens
-- (see live.lua), and the bounds of the log of ends (see log.lua).
local config = redis.call('HMGET', CONFIG, 'version', 'live', 'log')

-- Whether the caller knows the policy in force. A caller that does not must touch no list: it could write one that nobody
-- reads.
local function current()
  return (config[1] or '') == ARGV[2]
end
