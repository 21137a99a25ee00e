--- Warnings: texres.warn(message) is called when something works but is probably not what was meant. It writes a
-- line to stderr; put another function in its place to log, to raise, or to be left alone. Of the processes of a job,
-- which all run the same script (texres.distributed), the first one tells; of a run of a sweep, the one that trains it.
-- @module texres.warn

local distributed = require "texres.distributed"
local plain = require "texres.plain"

return function(message)
  if not distributed._tells() then return end
  io.stderr:write("texres: warning: " .. plain.visible(message) .. "\n") -- at once: several processes may tell
end
