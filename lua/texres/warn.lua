--- Warnings: texres.warn(message) is called when something works but is probably not what was meant. It writes a
-- line to stderr; put another function in its place to log, to raise, or to be left alone. Of the processes of a job,
-- which all run the same script (texres.distributed), the first one tells.
-- @module texres.warn

local plain = require "texres.plain"

-- What tells a process its rank before it has joined the others.
local RANKS = { "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK" }

local function is_first()
  for _, name in ipairs(RANKS) do
    local rank = tonumber(os.getenv(name))
    if rank then return rank == 0 end
  end
  return true
end

return function(message)
  if not is_first() then return end
  io.stderr:write("texres: warning: ", plain.visible(message), "\n")
end
