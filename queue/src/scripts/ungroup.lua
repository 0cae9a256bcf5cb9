-- Forgets kinds of failures. REST: fingerprints, or none for all
-- returns {'ok', now ms, how many}
local forgotten = 0
if #ARGV < REST then
  forgotten = redis.call('ZCARD', GROUPS)
  redis.call('UNLINK', GROUPS, GROUPED)
end
for i = REST, #ARGV do
  forgotten = forgotten + redis.call('ZREM', GROUPS, ARGV[i])
  redis.call('HDEL', GROUPED, ARGV[i], 'n' .. ARGV[i])
end
return {'ok', now_ms(), forgotten}
