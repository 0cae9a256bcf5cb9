-- Shared: telling those who sleep of an earlier due time. They sleep until the first task is due that they knew of. If
-- there is an earlier one than `before` now, one of them must learn it.
include 'wake'
include 'due'
local function wake_if_sooner(before)
  local first = first_due()
  if first and (not before or first < before) then wake(1) end
end
