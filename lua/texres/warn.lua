--- Warnings: texres.warn(message) is called when something works but is probably not what was meant. It writes a
-- line to stderr; put another function in its place to log, to raise, or to be left alone.
-- @module texres.warn

local plain = require "texres.plain"

return function(message)
  io.stderr:write("texres: warning: ", plain.visible(message), "\n")
end
