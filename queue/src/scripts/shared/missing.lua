-- Shared: ids without a record that nobody accounts for. Whoever ends a task takes its id out of where it waits, or counts
-- it as a ghost; so these have lost their tasks to the server, which evicted them, or to somebody else.
local function count_missing(count)
  if count <= 0 then return end
  redis.call('HINCRBY', STATS, 'missing', text(count))
  missing = missing + count
end
