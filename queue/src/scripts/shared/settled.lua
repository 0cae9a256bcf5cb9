-- Shared (settle): tells who listens of what was settled. `settled` has for each its place in ARGV and the record as it was.
include 'tell'
include 'record'
local names = {retry = 'retried', snooze = 'snoozed', release = 'released', quarantined = 'dead'}

-- Cause and number of the attempt, and message, of the last failure in a record.
local function last_failure(record)
  local body = body_of(record)
  local last = body and body[5][#body[5]]
  if type(last) ~= 'table' then return '', '' end
  local why = text(tonumber(last[3]) or 0) .. ' ' .. text(tonumber(last[1]) or 0)
  return why, type(last[4]) == 'string' and last[4] or ''
end

for _, one in ipairs(settled) do
  local i, kept = one[1], one[2]
  local what, id, record = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local lost = what == 'lost' or what == 'quarantined'
  local why, said = '', ''
  -- A loss of which nothing is noted leaves the record as it was.
  if (lost or what == 'retry' or what == 'dead') and record ~= kept then why, said = last_failure(record) end
  -- Who tells of a loss need not be the worker that was lost.
  local by = lost and '' or worker
  if record ~= '' or kept ~= '' then tell(names[what] or what, id, by, why, said, record ~= '' and record or kept) end
end
flush()
