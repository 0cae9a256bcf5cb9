-- Shared (exchange): those of the ids taken that have no record have left their lists for good.
include 'laid'
local at = 0
for _, run in ipairs(runs) do
  local gone = {}
  for i = at + 1, at + run[2] do
    if not records[i] then gone[#gone + 1] = ids[i] end
  end
  if #gone > 0 then lay(run[1], gone) end
  at = at + run[2]
end
