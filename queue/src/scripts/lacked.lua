-- Which commands the user has no right to give, by the server's own rules. Changes nothing.
-- REST: pairs of a command, in small letters and such as script|load, and the channel that it is
--       to be about, or nothing if that is a key
-- returns those that the user may not give
local lacked = {}
for i = REST, #ARGV, 2 do
  local words = {}
  for word in string.gmatch(ARGV[i], '[^|]+') do words[#words + 1] = word end
  -- However a command reads its arguments, all that it may take for a key is this one.
  local about = ARGV[i + 1] == '' and CONFIG or ARGV[i + 1]
  for _ = 1, 4 do words[#words + 1] = about end
  if not redis.acl_check_cmd(unpack(words)) then lacked[#lacked + 1] = ARGV[i] end
end
return lacked
