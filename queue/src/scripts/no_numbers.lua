-- Only in the unit tests of this crate, in front of every script: a command that is given a number is an error. See
-- `text` in shared/base.lua.
local redis = (function(server)
  local function strict(how)
    local call = server[how]
    return function(...)
      for place, argument in ipairs({...}) do
        if type(argument) == 'number' then error('argument ' .. place .. ' of ' .. (...) .. ' is a number') end
      end
      return call(...)
    end
  end
  return {call = strict('call'), pcall = strict('pcall'), acl_check_cmd = server.acl_check_cmd}
end)(redis)
