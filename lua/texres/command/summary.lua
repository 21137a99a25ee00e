--- texres summary: the layers of a network, what each makes and costs, and how much of the image it sees.

local arguments = require "texres.command.arguments"

return {
  summary = "The layers of a network, what they make and cost, and what is wrong with them.",
  examples = {
    { "summary runs/first", "the network of a run" },
    { "summary resnet18 --input 64x64x1 --classes 6", "one that texres.models builds" },
  },
  describe = function(parser)
    arguments.network(parser)
  end,
  run = function(options)
    local net, shape = arguments.open_network(options)
    if not net then return nil, shape end
    print(net:summary(shape))
    print(net:check(shape))
  end,
}
