-- Shared: earlier versions keep what is due far ahead in lists, by spans of time. A script that meets such does nothing; its
-- caller brings them in and calls again (see migrate.lua).
if redis.call('EXISTS', LATER) == 1 then return {'old'} end
