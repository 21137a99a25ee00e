--- texres export: a network for other programs.

local arguments = require "texres.command.arguments"
local classifier = require "texres.classifier"
local export_c = require "texres.export.c"
local files = require "texres.files"
local input = require "texres.input"
local onnx = require "texres.onnx"
local plain = require "texres.plain"

local function tell(format, ...) print(plain.visible_name(format:format(...))) end

-- -- formats ----------------------------------------------------------------------------------------------------------
--
-- Each writes a network, whose images are `image` {H,W,C}, to options.out; true, or nil and a message.

local formats = {}

function formats.onnx(net, image, options)
  local own = input.of(net)
  local written, message = onnx.export(options.out, net, {
    input = image, classes = own and own.classes, normalization = own and own:normalization_of_unit(),
  })
  if not written then return nil, message end
  tell("network: %s, images {N,%s}%s", options.out, table.concat(image, ","),
    own and own.normalization and " in 0..1" or "")
  return true
end

-- The file that the network is of and its hash, as `texres predict` tells it; nil where it is of none.
local function origin(options)
  local path = arguments.checkpoint(options.network)
  local hash = files.exists(path) and files.hash(path)
  return hash and ("%s, CRC-32 %s"):format(path:match "[^/]*$", hash)
end

function formats.c(net, image, options)
  local one = classifier.new { model = net, input = image }
  local written, message = one:export_c(options.out, { prefix = options.prefix, note = origin(options) })
  if not written then return nil, message end
  local name = plain.visible_name(options.out)
  print(("network: %s\ntest it: cc -std=c99 -O3 -DTEXRES_SELF_TEST %s -lm -o test && ./test"):format(name, name))
  return true
end

-- -- the command ------------------------------------------------------------------------------------------------------

return {
  summary = "Write a network for other programs: as ONNX or C.",
  examples = {
    { "export onnx run net.onnx", "the network of a run, with its normalization and the names of its classes" },
    { "export onnx resnet18 net.onnx --input 64x64x3", "one that texres.models builds, with random weights" },
    { "export c run fabric.c", "one C99 file that classifies images without texres" },
  },
  describe = function(parser)
    parser:argument("format", "onnx: takes \"images\" {N,H,W,C}, gives \"logits\" {N,K}. c: a C99 file with a function "
      .. "classify(image, scores)."):choices { "onnx", "c" }
    arguments.network(parser)
    parser:argument("out", "The file to write.")
    parser:option("--prefix", "What names in C begin with."):argname "NAME"
      :convert(arguments.rule(export_c.KNOWN.prefix, "--prefix"))
  end,
  run = function(options)
    local net, shape = arguments.open_network(options)
    if not net then return nil, shape end
    local written, message = formats[options.format](net, { table.unpack(shape, 2) }, options)
    if not written then return nil, message end
  end,
}
