-- What attempts say while they run: progress, and lines for the tasks' logs.
-- KEYS  the log of each task
-- `kept` is how long a log is kept after its last line, in ms; `most_lines` how many it has.
-- REST: for each task its id, progress or '', number of lines, the lines
-- returns {'ok', now ms}; a task that the worker does not hold is passed over
local now = now_ms()
include 'live'
local news = live and {}
local at = REST
for i = LAST_LIST + 1, #KEYS do
  local id, progress, lines = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if redis.call('HGET', ACTIVE, id) == worker then
    if live then news[#news + 1] = at end
    if progress ~= '' then redis.call('HSET', PROGRESS, id, progress) end
    if lines > 0 then
      redis.call('RPUSH', KEYS[i], unpack(ARGV, at + 3, at + 2 + lines))
      redis.call('LTRIM', KEYS[i], text(-most_lines), '-1')
      redis.call('PEXPIRE', KEYS[i], kept)
    end
  end
  at = at + 3 + lines
end
if live then
  include 'tell'
  for _, place in ipairs(news) do
    local id, progress = ARGV[place], ARGV[place + 1]
    if progress ~= '' then tell('progress', id, worker, '', progress, '') end
    for i = place + 3, place + 2 + ARGV[place + 2] do tell('log', id, worker, '', ARGV[i], '') end
  end
  flush()
end
return {'ok', now}
