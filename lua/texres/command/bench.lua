--- texres bench: how fast this machine is (texres.bench).

local arguments = require "texres.command.arguments"
local bench = require "texres.bench"

return {
  summary = "Measure how fast this machine trains and runs the textile network.",
  examples = {
    { "bench", "images a second with one thread and with all, in a few seconds" },
    { "bench --width 16 --batch 64 --size 128", "of a smaller network on larger images" },
  },
  describe = function(parser)
    arguments.options(parser, bench.KNOWN, {
      { "width", "Channels of the first stage.", "N" },
      { "batch", "Images in a step.", "N" },
      { "size", "Height and width of an image.", "N" },
      { "seconds", "For each of the four measurements.", "S" },
      { "threads", "Compared with one thread. By default one for each core.", "N" },
    })
  end,
  run = function(options) print(bench.run(arguments.given(options, bench.KNOWN))) end,
}
