--- Neural networks: modules, containers, initialization. `texres.nn.functional` holds the functions behind them.

local module = require "texres.nn.module"
local strict = require "texres.strict"

require "texres.nn.state" -- these add methods to Module
require "texres.nn.architecture"
require "texres.nn.watch"
require "texres.nn.head"

local nn = {
  Module = module.Module,
  Parameter = module.Parameter,
  register = module.register,
  from_config = module.Module.from_config,
  is_module = module.is_module,
  functional = require "texres.nn.functional",
  init = strict.table("texres.nn.init", require "texres.nn.initialize"),
  DepthwiseSeparable = require("texres.nn.conv_more").depthwise_separable,
}

--- A layer's method to_onnx, for who calls it by hand: it checks what it is given.
local function checked(write)
  return function(self, graph, x)
    require("texres.onnx").check_call(graph, x)
    return write(self, graph, x)
  end
end

local FILES = {
  "container", "conv", "conv_more", "norm", "linear", "activation", "pool", "resize", "shape", "block", "graph",
  "quantized",
}
for _, file in ipairs(FILES) do
  for name, class in pairs(require("texres.nn." .. file)) do
    if type(class) == "table" then
      nn[name] = class
      class._forward = class.forward
      if rawget(class, "to_onnx") then class.to_onnx = checked(class.to_onnx) end
    end
  end
end

return strict.table("texres.nn", nn)
