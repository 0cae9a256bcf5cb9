-- What attempts say while they run: progress, and lines for the tasks' logs.
-- KEYS  the log of each task
-- ARGV  3 worker; 4 how long a log is kept after its last line, in ms; 5 most lines of a log
--       then for each task: id, progress or '', number of lines, the lines
-- returns {'ok', now ms}; a task that the worker does not hold is passed over
local at = 6
for i = LAST_LIST + 1, #KEYS do
  local id, progress, lines = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if redis.call('HGET', ACTIVE, id) == ARGV[3] then
    if progress ~= '' then redis.call('HSET', PROGRESS, id, progress) end
    if lines > 0 then
      redis.call('RPUSH', KEYS[i], unpack(ARGV, at + 3, at + 2 + lines))
      redis.call('LTRIM', KEYS[i], text(-ARGV[5]), '-1')
      redis.call('PEXPIRE', KEYS[i], ARGV[4])
    end
  end
  at = at + 3 + lines
end
return {'ok', now_ms()}
