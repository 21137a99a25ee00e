--- texres draw: a network as a picture.

local arguments = require "texres.command.arguments"
local plain = require "texres.plain"

local WRONG = 2

return {
  summary = "A picture of a network, with its skip connections.",
  examples = {
    { "draw run net.svg", "the network of a run, for a browser or a document" },
    { "draw resnet50 net.dot && dot -Tpdf net.dot >net.pdf", "as a graph, for Graphviz" },
  },
  describe = function(parser)
    arguments.network(parser)
    parser:argument("out", "The file to write: .svg, or .dot for Graphviz.")
  end,
  run = function(options)
    local out = options.out
    if not (out:find "%.svg$" or out:find "%.dot$") then
      return WRONG, ("%s: the name of the picture ends in .svg or .dot"):format(out)
    end
    local net, shape = arguments.open_network(options)
    if not net then return nil, shape end
    local written, message = net:draw(out, shape)
    if not written then return nil, message end
    print("drawing: " .. plain.visible_name(out))
  end,
}
