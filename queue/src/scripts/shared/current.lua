-- Shared: whether the caller knows the policy in force. A caller that does not must touch no list: it could write
-- one that nobody reads.
local function current()
  return (redis.call('HGET', CONFIG, 'version') or '') == ARGV[2]
end
