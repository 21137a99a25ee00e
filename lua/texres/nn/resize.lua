--- Images {N,H,W,C} in another size: Upsample, AdaptiveAvgPool2d.

local F = require "texres.nn.functional"
local arguments = require "texres.nn.arguments"
local means = require "texres.onnx.means"
local module = require "texres.nn.module"
local onnx_window = require "texres.onnx.window"
local option = require "texres.options"
local raise = require "texres.raise"

--- Upsample(factor, {mode="nearest"}): images {N,H,W,C} `factor` times as large, a whole number or {rows, columns}:
-- every pixel repeated, or with mode = "bilinear" linear between the middles of pixels, as PyTorch's interpolate with
-- align_corners=false.
local Upsample = module.register("Upsample", module.Module "Upsample")

local MODE = { mode = option.choice("nearest", { "nearest", "bilinear" }) }

function Upsample:init(factor, options)
  arguments.pair("Upsample", "factor", factor)
  self.factor, self.mode = factor, option.read("Upsample", options, MODE).mode
end

function Upsample:constructor_arguments() return module.with_options(self, { mode = "nearest" }, self.factor) end

function Upsample:forward(x)
  if self.mode == "bilinear" then return F.upsample_bilinear2d(x, self.factor) end
  arguments.images("Upsample", x)
  local by_rows, by_columns = arguments.pair("Upsample", "factor", self.factor)
  local n, h, w, c = x:size()
  return x:reshape(n, h, 1, w, 1, c):expand(n, h, by_rows, w, by_columns, c):reshape(n, h * by_rows, w * by_columns, c)
end

function Upsample:to_onnx(graph, x)
  local by_rows, by_columns = arguments.pair("Upsample", "factor", self.factor)
  local scales = graph:floats { 1, 1, by_rows, by_columns }
  local linear = self.mode == "bilinear"
  return graph:node("Resize", { graph:channels_first(x), { name = "" }, scales }, {
    mode = linear and "linear" or "nearest", nearest_mode = "floor",
    coordinate_transformation_mode = linear and "half_pixel" or "asymmetric",
  }, { channels_first = true, dims = 4 })
end

--- AdaptiveAvgPool2d(size): images {N,H,W,C} to {N,rows,columns,C}, `size` a number or {rows, columns}: each pixel is
-- the mean of the rows from floor(i H / rows) to ceil((i + 1) H / rows), and of such columns, as in PyTorch.
local AdaptiveAvgPool2d = module.register("AdaptiveAvgPool2d", module.Module "AdaptiveAvgPool2d")
AdaptiveAvgPool2d.keeps_nothing = true

function AdaptiveAvgPool2d:init(size)
  arguments.pair("AdaptiveAvgPool2d", "size", size)
  self.size = size
end

function AdaptiveAvgPool2d:constructor_arguments() return { self.size, n = 1 } end

function AdaptiveAvgPool2d:forward(x)
  local rows, columns = arguments.pair("AdaptiveAvgPool2d", "size", self.size)
  if rows > 1 or columns > 1 then return F.adaptive_avg_pool2d(x, self.size) end
  return F.global_avg_pool(x):reshape(x:size(1), 1, 1, x:size(4))
end

-- Windows of one size are those of AveragePool; others are products with the means of rows and columns.
function AdaptiveAvgPool2d:to_onnx(graph, x)
  local rows, columns = arguments.pair("AdaptiveAvgPool2d", "size", self.size)
  x = graph:channels_first(x)
  if rows == 1 and columns == 1 then return graph:node("GlobalAveragePool", { x }, {}, x) end
  local shape = graph:input_shape(self)
  if not shape then raise "onnx: AdaptiveAvgPool2d can be written where it is called with images of one size" end
  local _, h, w = table.unpack(shape)
  if h % rows == 0 and w % columns == 0 then
    local window = { h // rows, w // columns }
    return graph:node("AveragePool", { x }, onnx_window(window, window, 0), x)
  end
  x = graph:node("MatMul", { x, graph:constant(self, "of_columns", means(w, columns):transpose(1, 2)) }, {}, x)
  return graph:node("MatMul", { graph:constant(self, "of_rows", means(h, rows)), x }, {}, x)
end

return { Upsample = Upsample, AdaptiveAvgPool2d = AdaptiveAvgPool2d }
