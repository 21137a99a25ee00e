--- texres doctor: is all well with texres on this machine?

local texres = require "texres"

local FAILED = 1

return {
  summary = "Look for what is wrong with texres on this machine, and test it for two seconds.",
  examples = {
    { "doctor", "what to mention when you report a fault; exit status 1 where there is a problem" },
  },
  describe = function() end,
  run = function()
    local report = texres.doctor()
    print(report)
    return report.problems > 0 and FAILED or nil
  end,
}
