--- texres export: a network for other programs.

local Quantized = require("texres.nn.quantized").Quantized
local arguments = require "texres.command.arguments"
local classifier = require "texres.classifier"
local export_c = require "texres.export.c"
local files = require "texres.files"
local input = require "texres.input"
local onnx = require "texres.onnx"
local option = require "texres.options"
local plain = require "texres.plain"

local function tell(format, ...) print(plain.visible_name(format:format(...))) end

-- -- formats ----------------------------------------------------------------------------------------------------------
--
-- Each writes a network, whose images are `image` {H,W,C}, to options.out; true, or nil and a message.

local formats = {}

function formats.onnx(net, image, options)
  if getmetatable(net) == Quantized then
    return nil, "a network in 8 bits is for c and lua, not for onnx: export the one in f32 that it was made of"
  end
  local own = input.of(net) or input.new {}
  local written, message = onnx.export(options.out, net, own:for_onnx(image, options))
  if not written then return nil, message end
  local range = options.pixels == "u8" and " of bytes" or own.normalization and " in 0..1" or ""
  tell("network: %s, images {N,%s}%s", options.out, table.concat(image, ","), range)
  return true
end

-- The file that the network is of and its hash, as `texres predict` tells it; nil where it is of none.
local function origin(options)
  local path = arguments.checkpoint(options.network)
  local hash = files.exists(path) and files.hash(path)
  return hash and ("%s, CRC-32 %s"):format(path:match "[^/]*$", hash)
end

-- What a file with a self-test is written of: a classifier, its note and images; or nil and a message.
local function tested(net, image, options)
  local one, images, message = classifier.new { model = net, input = image }, nil, nil
  if options.images then images, message = one:open(options.images) end
  if message then return nil, message end
  return one, { note = origin(options), images = images }
end

-- A path as a shell takes it, and as a terminal shows it.
local function shell_word(path)
  local name = plain.visible_name(path)
  return name:find "[^%w_./+,:@=-]" and "'" .. name:gsub("'", "'\\''") .. "'" or name
end

function formats.c(net, image, options)
  local one, given = tested(net, image, options)
  if not one then return nil, given end
  given.prefix = options.prefix
  local written, message = one:export_c(options.out, given)
  if not written then return nil, message end
  tell("network: %s", options.out)
  print(("test it: cc -std=c99 -O3 -DTEXRES_SELF_TEST %s -lm -o test && ./test"):format(shell_word(options.out)))
  return true
end

function formats.lua(net, image, options)
  local one, given = tested(net, image, options)
  if not one then return nil, given end
  local written, message = one:export_lua(options.out, given)
  if not written then return nil, message end
  tell("network: %s", options.out)
  print(("test it: lua5.4 %s --test"):format(shell_word(options.out)))
  return true
end

-- Says that an option is of another format; nil where all that are given fit.
local function misplaced(options)
  local onnx_only = options.pixels ~= "f32" or options.outputs ~= "logits"
  if options.format ~= "onnx" and onnx_only then
    return "--pixels and --outputs are for onnx: the other files take bytes and give scores"
  end
  if options.format ~= "c" and options.prefix then return "--prefix is for c: other files have no names in C" end
  if options.format == "onnx" and options.images then return "--images is for c and lua, which have a self-test" end
end

-- -- the command ------------------------------------------------------------------------------------------------------

return {
  summary = "Write a network for other programs: as ONNX, C or Lua.",
  examples = {
    { "export onnx run net.onnx", "the network of a run, with its normalization and the names of its classes" },
    { "export onnx resnet18 net.onnx --input 64x64x3", "one that texres.models builds, with random weights" },
    { "export c run fabric.c", "one C99 file that classifies images without texres" },
    { "export c run fabric.c --images validation/", "its self-test has images of your cloth, one of each class" },
    { "export lua run fabric.lua", "the same in pure Lua, for hosts without a compiler" },
  },
  describe = function(parser)
    parser:argument("format", "onnx: takes \"images\" {N,H,W,C}, gives \"logits\" {N,K}. c: a C99 file with a function "
      .. "classify(image, scores). lua: a module of pure Lua 5.4 with classify(image)."):choices { "onnx", "c", "lua" }
    arguments.network(parser)
    parser:argument("out", "The file to write.")
    parser:option("--prefix", "What names in C begin with."):argname "NAME"
      :convert(arguments.rule(export_c.KNOWN.prefix, "--prefix"))
    parser:option("--images", "Of the self-test of c and lua: a set as SET of texres eval, of which the first image of "
      .. "each class is taken. By default three of synthetic fabric."):argname "SET"
      :convert(arguments.rule(option.PATH, "--images"))
    parser:option("--pixels", "What it takes: u8, bytes as a camera gives them. By default floats."):argname "f32|u8"
      :choices { "f32", "u8" }:default "f32"
    parser:option("--outputs", "What it gives: probabilities, as texres predict does. By default logits.")
      :argname "logits|probabilities":choices { "logits", "probabilities" }:default "logits"
  end,
  run = function(options)
    local problem = misplaced(options) or arguments.overwrites(options.out, options.network)
    if problem then return nil, problem end
    local net, shape = arguments.open_network(options)
    if not net then return nil, shape end
    local written, message = formats[options.format](net, { table.unpack(shape, 2) }, options)
    if not written then return nil, message end
  end,
}
