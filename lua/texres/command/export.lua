--- texres export: a network for other programs.

local arguments = require "texres.command.arguments"
local input = require "texres.input"
local onnx = require "texres.onnx"
local plain = require "texres.plain"

return {
  summary = "Write a network for other programs: as ONNX.",
  examples = {
    { "export onnx run net.onnx", "the network of a run, with its normalization and the names of its classes" },
    { "export onnx resnet18 net.onnx --input 64x64x3", "one that texres.models builds, with random weights" },
  },
  describe = function(parser)
    parser:argument("format", "onnx: takes \"images\" {N,H,W,C}, gives \"logits\" {N,K}."):choices { "onnx" }
    arguments.network(parser)
    parser:argument("out", "The file to write.")
  end,
  run = function(options)
    local net, shape = arguments.open_network(options)
    if not net then return nil, shape end
    local own, image = input.of(net), { table.unpack(shape, 2) }
    local written, message = onnx.export(options.out, net, {
      input = image, classes = own and own.classes, normalization = own and own:normalization_of_unit(),
    })
    if not written then return nil, message end
    print(plain.visible_name(("network: %s, images {N,%s}%s"):format(options.out, table.concat(image, ","),
      own and own.normalization and " in 0..1" or "")))
  end,
}
