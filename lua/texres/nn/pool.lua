--- Pooling over rows and columns of images {N,H,W,C}.

local F = require "texres.nn.functional"
local arguments = require "texres.nn.arguments"
local option = require "texres.options"
local module = require "texres.nn.module"
local onnx_window = require "texres.onnx.window"

-- Takes over the window of a pooling.
local function set_window(self, where, kernel, options)
  local window = { arguments.pair(where, "kernel", kernel) }
  arguments.pair(where, "stride", options.stride)
  self.kernel, self.stride = kernel, options.stride
  self.padding = arguments.padding(where, options.padding, window)
end

--- As Conv2d's.
local function window(self)
  local rows, columns = arguments.pair("window", "kernel", self.kernel)
  return { rows, columns }, { arguments.pair("window", "stride", self.stride) }
end

local function add_pool(self, graph, x, operator, count_include_pad)
  local attributes = onnx_window(self.kernel, self.stride, self.padding, nil, graph:input_shape(self))
  attributes.count_include_pad = count_include_pad
  return graph:node(operator, { graph:channels_first(x) }, attributes, { channels_first = true, dims = 4 })
end

--- MaxPool2d(kernel, {stride=kernel, padding=0}): the largest value of every window, for each channel: {N,H,W,C} to
-- {N,P,Q,C} with P = (H + top + bottom - kernel) / stride + 1 rounded down. `kernel` and stride: a number or {rows,
-- columns}; padding: a number, {top, bottom, left, right}, "same" or "valid"; it never wins, a NaN does.
local MaxPool2d = module.register("MaxPool2d", module.Module "MaxPool2d")
MaxPool2d.keeps_nothing = true
MaxPool2d.window = window

function MaxPool2d:init(kernel, options)
  set_window(self, "MaxPool2d", kernel, option.read("MaxPool2d", options, {
    stride = option.any(kernel), padding = option.any(0),
  }))
end

function MaxPool2d:constructor_arguments()
  return module.with_options(self, { stride = self.kernel, padding = 0 }, self.kernel)
end

function MaxPool2d:forward(x)
  return F.max_pool2d(x, self.kernel, { stride = self.stride, padding = self.padding })
end

function MaxPool2d:to_onnx(graph, x) return add_pool(self, graph, x, "MaxPool") end

--- AvgPool2d(kernel, {stride=kernel, padding=0, count_include_pad=true}): the mean of every window, for each channel;
-- sizes as for MaxPool2d. count_include_pad: pixels of the padding count as zeros, else they are left out of the mean.
local AvgPool2d = module.register("AvgPool2d", module.Module "AvgPool2d")
AvgPool2d.keeps_nothing = true
AvgPool2d.window = window

function AvgPool2d:init(kernel, options)
  options = option.read("AvgPool2d", options, {
    stride = option.any(kernel), padding = option.any(0), count_include_pad = option.switch(true),
  })
  set_window(self, "AvgPool2d", kernel, options)
  self.count_include_pad = options.count_include_pad
end

function AvgPool2d:constructor_arguments()
  return module.with_options(self, { stride = self.kernel, padding = 0, count_include_pad = true }, self.kernel)
end

function AvgPool2d:forward(x)
  return F.avg_pool2d(x, self.kernel, {
    stride = self.stride, padding = self.padding, count_include_pad = self.count_include_pad,
  })
end

function AvgPool2d:to_onnx(graph, x)
  return add_pool(self, graph, x, "AveragePool", self.count_include_pad and 1 or 0)
end

local function add_global_pool(graph, x, kind)
  local y = graph:node(kind, { graph:channels_first(x) }, {}, { channels_first = true, dims = 4 })
  return graph:node("Flatten", { y }, { axis = 1 }, { dims = 2 })
end

--- GlobalAvgPool(): {N,H,W,C} to {N,C}, the mean of every channel.
local GlobalAvgPool = module.register("GlobalAvgPool", module.Module "GlobalAvgPool")
GlobalAvgPool.keeps_nothing = true

function GlobalAvgPool:forward(x) return F.global_avg_pool(x) end -- luacheck: no self

function GlobalAvgPool:to_onnx(graph, x) return add_global_pool(graph, x, "GlobalAveragePool") end -- luacheck: no self

--- GlobalMaxPool(): {N,H,W,C} to {N,C}, the largest value of every channel. Beside GlobalAvgPool (nn.Concat {
-- nn.GlobalAvgPool(), nn.GlobalMaxPool() }) it lets a small defect be seen that the mean over the image drowns.
local GlobalMaxPool = module.register("GlobalMaxPool", module.Module "GlobalMaxPool")
GlobalMaxPool.keeps_nothing = true

function GlobalMaxPool:forward(x) -- luacheck: no self
  arguments.images("GlobalMaxPool", x)
  return x:max { 2, 3 }
end

function GlobalMaxPool:to_onnx(graph, x) return add_global_pool(graph, x, "GlobalMaxPool") end -- luacheck: no self

return { MaxPool2d = MaxPool2d, AvgPool2d = AvgPool2d, GlobalAvgPool = GlobalAvgPool, GlobalMaxPool = GlobalMaxPool }
