-- Shared (exchange): takes acks of completed tasks.
include 'done'
local at, ids = REST + buckets, {}
for i = at, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local owners, seen, mine, kept, cleared = redis.call('HMGET', ACTIVE, unpack(ids)), 0, {}, 0, 0
for b = 1, tonumber(buckets) do
  local bucket, first = KEYS[LAST_LIST + b], at
  at = at + 2 * ARGV[REST + b - 1]
  local list, last = ARGV, at - 1
  -- All of a bucket by one command, unless some of it is refused.
  for i = first, at - 2, 2 do
    seen = seen + 1
    local held = owners[seen] == worker
    if held then
      mine[#mine + 1] = ARGV[i]
    elseif redis.call('HGET', bucket, ARGV[i]) ~= ARGV[i + 1] then
      refused[#refused + 1] = ARGV[i]
    end
    if not held and list == ARGV then list = {unpack(ARGV, first, i - 1)} end
    if held and list ~= ARGV then list[#list + 1], list[#list + 2] = ARGV[i], ARGV[i + 1] end
  end
  if list ~= ARGV then first, last = 1, #list end
  if last > first then put_done(bucket, list, first, last, retention, now) end
  if shelved and #mine > kept then
    include 'shelves'
    cleared = cleared + clear(string.sub(bucket, -9), mine, kept + 1, #mine)
    kept = #mine
  end
end
acked = #mine
if acked > 0 then
  redis.call('HDEL', ACTIVE, unpack(mine))
  if cleared < acked then redis.call('HDEL', TASKS, unpack(mine)) end
  if rare then
    redis.call('HDEL', LOST, unpack(mine))
    redis.call('HDEL', PROGRESS, unpack(mine))
  end
  redis.call('HINCRBY', STATS, 'completed', text(acked))
  -- When some acks are refused, the time of all is shared out evenly: it is a mean, not an account.
  local run = math.floor(run_ms * acked / #ids)
  if run > 0 then redis.call('HINCRBY', STATS, 'run_ms', text(run)) end
  if live then
    include 'tell'
    local place = 1
    for i = REST + buckets, #ARGV, 2 do
      if ARGV[i] == mine[place] then
        tell('completed', ARGV[i], worker, '', '', ARGV[i + 1])
        place = place + 1
      end
    end
    flush()
  end
end
