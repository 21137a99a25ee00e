--- texres repl: the prompt.

local core = require "texres.core"

local FAILED = 1

return {
  summary = "A prompt for Lua with the library at hand: tr, help(x), completion by Tab.",
  examples = {
    { "repl", "values are shown, Ctrl-C ends what runs, Ctrl-D the prompt" },
    { "repl < lines.lua", "what stands in a file, line by line; the exit status is 1 where an input failed" },
  },
  describe = function() end,
  run = function()
    local ok = require "texres.repl"()
    return not ok and not core.process.columns(io.stdin) and FAILED or nil
  end,
}
