--- Images {N,H,W,C} in another size: Upsample, AdaptiveAvgPool2d.
--
-- Both are the same linear map of the columns of every image, and then one of its rows: two matrix products.

local F = require "texres.nn.functional"
local arguments = require "texres.nn.arguments"
local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"

-- The matrix {out,size} that makes a line of `out` pixels of one of `size`: weights(i) gives, for pixel i from 0 on,
-- the first pixel (from 0) that it is made of and a list of weights.
local function line_matrix(size, out, dtype, weights)
  local rows = {}
  for i = 0, out - 1 do
    local row, first, list = {}, weights(i)
    for j = 1, size do row[j] = 0 end
    for k, weight in ipairs(list) do
      local at = math.min(math.max(first + k, 1), size) -- beyond the border stand copies of the last pixel
      row[at] = row[at] + weight
    end
    rows[i + 1] = row
  end
  return core.tensor(rows, { dtype = dtype })
end

-- Columns of {N,H,W,C} by one matrix, rows by another one.
local function map(x, by_rows, by_columns)
  local n, h, w, c = x:size()
  local rows, columns = by_rows:size(1), by_columns:size(1)
  x = by_columns:matmul(x:reshape(n * h, w, c))
  return by_rows:matmul(x:reshape(n, h, columns * c)):reshape(n, rows, columns, c)
end

local function check_images(who, x)
  if x:dim() ~= 4 then raise("%s: x is %s, wanted images {N,H,W,C}", who, module.shape_text(x:shape())) end
end

--- Upsample(factor, {mode="nearest"|"bilinear"}): images {N,H,W,C} `factor` times as large, a whole number or {rows,
-- columns}: every pixel repeated, or linear between the middles of pixels, as PyTorch's interpolate with
-- align_corners=false.
local Upsample = module.register("Upsample", module.Module "Upsample")

local MODE = { mode = option.choice("nearest", { "nearest", "bilinear" }) }

function Upsample:init(factor, options)
  arguments.pair("Upsample", "factor", factor)
  self.factor, self.mode = factor, option.read("Upsample", options, MODE).mode
end

function Upsample:constructor_arguments() return module.with_options(self, { mode = "nearest" }, self.factor) end

local function linear_matrix(size, factor, dtype)
  return line_matrix(size, size * factor, dtype, function(i)
    local place = (i + 0.5) / factor - 0.5
    local first = math.floor(place)
    return first, { 1 - (place - first), place - first }
  end)
end

function Upsample:forward(x)
  check_images("Upsample", x)
  local by_rows, by_columns = arguments.pair("Upsample", "factor", self.factor)
  local n, h, w, c = x:size()
  if self.mode == "bilinear" then
    return map(x, linear_matrix(h, by_rows, x.dtype), linear_matrix(w, by_columns, x.dtype))
  end
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

function AdaptiveAvgPool2d:init(size)
  arguments.pair("AdaptiveAvgPool2d", "size", size)
  self.size = size
end

function AdaptiveAvgPool2d:constructor_arguments() return { self.size, n = 1 } end

local function mean_matrix(size, out, dtype)
  return line_matrix(size, out, dtype, function(i)
    local first, list = i * size // out, {}
    local count = ((i + 1) * size + out - 1) // out - first
    for k = 1, count do list[k] = 1 / count end
    return first, list
  end)
end

function AdaptiveAvgPool2d:forward(x)
  check_images("AdaptiveAvgPool2d", x)
  local rows, columns = arguments.pair("AdaptiveAvgPool2d", "size", self.size)
  if rows == 1 and columns == 1 then
    local n, _, _, c = x:size()
    return F.global_avg_pool(x):reshape(n, 1, 1, c)
  end
  return map(x, mean_matrix(x:size(2), rows, x.dtype), mean_matrix(x:size(3), columns, x.dtype))
end

function AdaptiveAvgPool2d:to_onnx(graph, x)
  local rows, columns = arguments.pair("AdaptiveAvgPool2d", "size", self.size)
  if rows > 1 or columns > 1 then raise "onnx: AdaptiveAvgPool2d can be written where its size is 1 alone" end
  return graph:node("GlobalAveragePool", { graph:channels_first(x) }, {}, { channels_first = true, dims = 4 })
end

return { Upsample = Upsample, AdaptiveAvgPool2d = AdaptiveAvgPool2d }
