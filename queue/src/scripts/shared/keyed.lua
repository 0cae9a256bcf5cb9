-- Shared: idempotency keys. IDEMPOTENCY has of each the id of the task that stands for it, what its call asked for as a
-- fingerprint, for how long it is kept after the end of that task in ms, and an e once that has ended. LAPSES says when it is to
-- be looked at next: when it is over, or, before the end, when to see whether the task is still there (see survey.lua).

-- The id that stands for a key, and whether its call asked for the same; nil if the key is free.
local function stands_for(key, fingerprint, now)
  local entry = key ~= '' and redis.call('HGET', IDEMPOTENCY, key)
  local id, asked, ended = string.match(entry or '', '^(%w+) (%x+) %d+(e?)$')
  if not id or ended == 'e' and tonumber(redis.call('ZSCORE', LAPSES, key) or 0) <= now then return nil end
  return id, asked == fingerprint
end
