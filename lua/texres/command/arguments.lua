--- Arguments and options that several commands have, and what stands behind them.

local files = require "texres.files"
local option = require "texres.options"
local plain = require "texres.plain"

local arguments = {}

--- A rule of texres.options as a converter for argparse: the number or text that the option takes.
function arguments.rule(wanted)
  return function(text)
    local value = wanted.accept(plain.number(text) or text)
    if value == nil then return nil, ("%s is no %s"):format(text, (wanted.wanted:gsub("^an? ", ""))) end
    return value
  end
end

arguments.count = arguments.rule(option.COUNT)
arguments.share = arguments.rule(option.number(nil, "[0, 1]"))

--- HxWxC, or HxW for one channel: the shape of an image.
function arguments.shape(text)
  local h, w, c = text:match "^(%d+)x(%d+)x(%d+)$"
  if not h then h, w, c = text:match "^(%d+)x(%d+)()$" end
  h, w, c = math.tointeger(h), math.tointeger(w), type(c) == "string" and math.tointeger(c) or 1
  if not h or h * w * c == 0 then return nil, text .. " is no shape of images, such as 64x64x1" end
  return { h, w, c }
end

--- The file of a run's folder, or the path as it is.
function arguments.checkpoint(path)
  local best = path .. "/best.safetensors"
  return files.exists(best) and best or path
end

--- Declares a network: one of a file or of texres.models.
function arguments.network(parser)
  parser:argument("network", "A run's folder, a .safetensors or .onnx file, or the name of one of texres.models.")
  parser:option("--input", "Shape of one image; by default the network's own, else 64x64x1."):argname "HxWxC"
    :convert(arguments.shape)
  parser:option("--classes", "Classes of a network of texres.models."):argname "N":convert(arguments.count)
end

local function of_models(name, options)
  local models = require "texres.models"
  local make = name ~= "build" and name ~= "torchvision" and rawget(models, name)
  if not make then return nil, name .. ": there is no such file, and no such network among texres.models" end
  local shape = options.input or { 64, 64, 1 }
  return make { classes = options.classes, in_channels = shape[3] }, shape
end

--- The network that the options name, and the shape {1,H,W,C} of an image; or nil and a message.
function arguments.open_network(options)
  local path, net, shape = arguments.checkpoint(options.network), nil, nil
  if not files.exists(path) then
    net, shape = of_models(path, options)
  elseif path:lower():find "%.onnx$" then
    local info
    net, info = require "texres.onnx".import(path)
    shape = net and info.input or info
  else
    local saved, problem = require "texres.checkpoint".load(path)
    net, shape = saved and saved.model, saved and saved.input or problem
  end
  if not net then return nil, shape end
  shape = options.input or shape
  if not shape then return nil, path .. ": it does not tell the size of its images: give --input" end
  return net:eval(), { 1, table.unpack(shape) }
end

return arguments
