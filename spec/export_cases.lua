--- Classifiers that the specs of exported files have: the networks whose layers each format must know.
local tr = require "texres"
local classifier = require "texres.classifier"
local input = require "texres.input"
local nn = tr.nn

local cases = {}

--- A classifier of a network; `fields`: as texres.input takes them, with pixels in 0..1 where they don't say.
function cases.of(net, fields)
  if fields.white == nil then fields.white = 1 end
  input.give(net, input.new(fields))
  return classifier.new { model = net:eval() }
end

-- Classes of five names and images of two channels.
local function small(net, classes)
  return cases.of(net, {
    input = { 9, 11, 2 }, classes = classes, normalization = { mean = { 0.5, 0.25 }, std = 0.4 }, temperature = 1.7,
  })
end

--- Whatever a format has a function for, with five classes.
function cases.all_layers(classes)
  tr.manual_seed(5)
  local net = nn.Sequential {
    name = "all layers",
    nn.Conv2d(2, 10, 3, { stride = 2, padding = { 1, 0, 1, 0 } }), nn.BatchNorm(10), nn.ReLU(),
    nn.Residual {
      nn.Conv2d(10, 12, 3, { padding = "same", dilation = 2, groups = 2, bias = false }), nn.SiLU(),
      shortcut = nn.Conv2d(10, 12, 1), activation = nn.GELU(),
    },
    nn.Residual { nn.Conv2d(12, 12, 3, { padding = 1 }), nn.ReLU() },
    nn.Concat {
      nn.MaxPool2d({ 1, 2 }, { stride = 1 }),
      nn.Sequential { nn.AvgPool2d({ 3, 4 }, { stride = 1, padding = 1 }), nn.Tanh() },
      nn.AvgPool2d({ 3, 4 }, { stride = 1, padding = 1, count_include_pad = false }),
    },
    nn.BatchNorm(36), nn.LeakyReLU(0.2), nn.Softplus(), nn.ELU(0.3), nn.Hardswish(),
    nn.Multiply { nn.Conv2d(36, 36, 1), nn.Sequential { nn.Conv2d(36, 1, 1), nn.Sigmoid() } },
    nn.Subtract { nn.Tanh(), nn.Identity() },
    nn.DepthwiseSeparable(36, 16), nn.SqueezeExcitation(16, { reduction = 4 }),
    nn.Concat {
      nn.Sequential { nn.MaxPool2d(3), nn.Flatten(), nn.Linear(16, 3) },
      nn.Sequential { nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(32, 2), nn.Sigmoid() },
    },
  }
  for _, m in ipairs(net:modules()) do
    if getmetatable(m) == nn.BatchNorm then
      m.running_mean:copy_from(tr.randn { m.running_mean:numel() } * 0.1)
      m.running_var:copy_from(tr.rand { m.running_var:numel() } + 0.5)
    end
  end
  return small(net, classes)
end

--- The same of what is done in whole numbers: all but a product with a value for each pixel.
function cases.integer_layers(classes)
  tr.manual_seed(6)
  return small(nn.Sequential {
    nn.Conv2d(2, 10, 3, { stride = 2, padding = { 1, 0, 1, 0 } }), nn.ReLU(),
    nn.Residual {
      nn.Conv2d(10, 12, 3, { padding = "same", dilation = 2, groups = 2 }), nn.SiLU(),
      shortcut = nn.Conv2d(10, 12, 1), activation = nn.GELU(),
    },
    nn.Residual { nn.Conv2d(12, 12, 3, { padding = 1 }), nn.ReLU() },
    nn.Residual { nn.Conv2d(12, 12, 3, { padding = 1 }), activation = nn.ReLU() },
    nn.Concat {
      nn.MaxPool2d({ 1, 2 }, { stride = 1 }),
      nn.Sequential { nn.AvgPool2d({ 3, 4 }, { stride = 1, padding = 1 }), nn.Tanh() },
      nn.AvgPool2d({ 3, 4 }, { stride = 1, padding = 1, count_include_pad = false }),
    },
    nn.Subtract { nn.Tanh(), nn.Identity() }, nn.Conv2d(36, 16, 1), nn.Conv2d(16, 16, 3, { padding = 1 }),
    nn.Hardswish(),
    nn.DepthwiseSeparable(16, 16), nn.SqueezeExcitation(16, { reduction = 4 }),
    nn.Concat {
      nn.Sequential { nn.MaxPool2d(3), nn.Flatten(), nn.Linear(16, 3), nn.ReLU() },
      nn.Sequential { nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(32, 2), nn.Sigmoid() },
    },
  }, classes)
end

--- The network of fabric, of six classes.
function cases.textile(width, head, fields)
  tr.manual_seed(width)
  fields = fields or {}
  fields.input, fields.classes = { 64, 64, 1 }, { "good", "color", "cut", "hole", "thread", "metal" }
  return cases.of(tr.models.textile { width = width, head = head }, fields)
end

--- An operating point of such a network.
function cases.point(threshold, band)
  local share = { value = 0, low = 0, high = 1 }
  return {
    threshold = threshold, band = band, good = "good", false_reject = share, escape = share,
    images = { good = 9, defect = 9 },
  }
end

--- Images of noise: bytes {count,H,W,C}.
function cases.noise(shape, count)
  tr.manual_seed(3)
  return (tr.rand { count, table.unpack(shape) } * 255):round():to "u8"
end

--- A classifier in 8 bits, calibrated on noise.
function cases.quantized(one)
  local set = assert(tr.data.tensors {
    images = cases.noise(one.input, 24), labels = tr.ones(24):to "i64", classes = one.classes,
  })
  return one:quantize(set, { images = 24 })
end

return cases
