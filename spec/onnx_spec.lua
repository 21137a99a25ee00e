--- ONNX export: the nodes that are written, and what a run of the file gives.
--
-- Fixtures: spec/fixtures/small.onnx is what the first test here writes; make_onnx.py has run it with onnxruntime, and
-- says how to make both anew.
local tr = require "texres"
local support = require "spec.support"
local nn = tr.nn

-- All fields of a message as {number, value}, values being integers or bytes.
local function fields(bytes)
  local list, at = {}, 1
  local function varint()
    local value, shift = 0, 0
    repeat
      local byte = bytes:byte(at)
      value, shift, at = value | (byte & 0x7f) << shift, shift + 7, at + 1
    until byte < 0x80
    return value
  end
  while at <= #bytes do
    local key = varint()
    local value
    if key & 7 == 0 then
      value = varint()
    elseif key & 7 == 2 then
      local length = varint()
      value, at = bytes:sub(at, at + length - 1), at + length
    else
      value, at = string.unpack("<f", bytes, at)
    end
    list[#list + 1] = { key >> 3, value }
  end
  return list
end

local function all(message, number)
  local found = {}
  for _, field in ipairs(fields(message)) do
    if field[1] == number then found[#found + 1] = field[2] end
  end
  return found
end

local function read(path)
  local graph = all(support.read_file(path), 7)[1]
  local operators, constants = {}, {}
  for _, node in ipairs(all(graph, 1)) do operators[#operators + 1] = all(node, 4)[1] end
  for _, constant in ipairs(all(graph, 5)) do constants[all(constant, 8)[1]] = all(constant, 1) end
  return operators, constants
end

-- Every layer once; values that are the same everywhere.
local function small()
  local net = nn.Sequential {
    name = "small",
    { conv = nn.Conv2d(2, 4, 3, { stride = 2, padding = { 1, 0, 1, 0 } }) },
    { norm = nn.BatchNorm(4) }, nn.ReLU(),
    nn.Residual {
      nn.Conv2d(4, 6, 3, { padding = "same", dilation = 2, groups = 2, bias = false }), nn.SiLU(),
      shortcut = nn.Conv2d(4, 6, 1), activation = nn.GELU(),
    },
    nn.Conv2d(6, 6, 2, { padding = "same", stride = { 2, 1 } }),
    nn.Concat {
      nn.MaxPool2d { 1, 2 }, nn.Sequential { nn.AvgPool2d(3, { stride = { 1, 2 }, padding = 1 }), nn.Tanh() },
    },
    nn.Residual { { fc = nn.Linear(12, 12) }, nn.LeakyReLU(0.2) }, nn.GroupNorm(3, 12), nn.Softplus(),
    nn.ELU(0.3), nn.Hardswish(),
    nn.Multiply { nn.Conv2d(12, 12, 1), nn.Sequential { nn.Conv2d(12, 1, 1), nn.Sigmoid() } },
    nn.Subtract { nn.Tanh(), nn.Identity() }, nn.LayerNorm(12),
    nn.ConvTranspose2d(12, 12, 3, { stride = 2, padding = 1, output_padding = 1, groups = 3 }),
    nn.Upsample { 1, 3 }, nn.Upsample({ 2, 1 }, { mode = "bilinear" }),
    nn.Conv2d(12, 6, 3, { padding = "same", stride = { 2, 3 }, dilation = 2 }),
    nn.StandardizedConv2d(6, 8, 3, { padding = 1 }),
    nn.PadShortcut(8, 12), nn.ImageStandardization(), nn.DepthwiseSeparable(12, 12),
    nn.SqueezeExcitation(12, { reduction = 4 }), nn.AdaptiveAvgPool2d { 3, 2 }, nn.AdaptiveAvgPool2d(2),
    nn.Dropout(0.5), nn.Identity(),
    nn.Concat {
      nn.Sequential { nn.Flatten(), { head = nn.Linear(48, 3) }, nn.BatchNorm(3) },
      nn.Sequential { nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(24, 2), nn.Sigmoid() },
    },
  }
  local step, state, names = 0, net:state_dict(), {}
  for name in pairs(state) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local t, values = state[name], {}
    for i = 1, t:numel() do
      step = (step * 75 + 74) % 65537 -- a small generator, the same everywhere
      values[i] = (step / 65537 - 0.5) * (name:find "running_var" and 0.5 or 1) + (name:find "running_var" and 1 or 0)
    end
    t:copy_from(tr.tensor(values):reshape(t:shape()))
  end
  return net
end

local options = { input = { 9, 8, 2 }, normalization = { mean = { 0.5, 0.25 }, std = 0.5 }, classes = { "a", "b" } }

describe("ONNX export", function()
  it("writes every layer", function()
    local path = os.getenv "TEXRES_SMALL_ONNX" or support.folder() .. "/small.onnx"
    assert.is_true(small():export_onnx(path, options))
    local same = support.read_file "spec/fixtures/small.onnx" == support.read_file(path)
    assert.is_true(same, "what is written is not spec/fixtures/small.onnx")
    local operators, constants = read(path)
    assert.same({
      "Sub", "Div", "Transpose", "Conv", "BatchNormalization", "Relu", "Conv", "Sigmoid", "Mul", "Conv", "Add", "Mul",
      "Erf", "Add", "Mul", "Mul", "Conv", "MaxPool", "AveragePool", "Tanh", "Concat", "Transpose", "MatMul", "Add",
      "LeakyRelu",
    }, table.move(operators, 1, 25, 1, {}))
    assert.same({ 4, 2, 3, 3 }, constants["conv.weight"])
    assert.same({ 12, 12 }, constants["7.fc.weight"])
    assert.same({ 4 }, constants["norm.running_var"])
  end)

  it("gives what onnxruntime computed of the same file", function()
    local want = assert(require("texres.safetensors").load "spec/fixtures/small_onnx.safetensors")
    local net = small():eval()
    local y = tr.no_grad(net, (want.images - tr.tensor { 0.5, 0.25 }) / 0.5)
    assert.is_true(tr.allclose(y, want.logits, 1e-4, 1e-5))
  end)

  -- What onnxruntime makes of SAME_UPPER there is another thing, or an error: it takes a padding below 0 for a cut.
  it("writes \"same\" in numbers where a stride goes on behind the image, for it never cuts", function()
    local path = support.folder() .. "/same.onnx"
    for _, case in ipairs {
      { nn.Conv2d(1, 2, 3, { stride = 9, padding = "same" }), 8, 8, 0 }, -- the published head
      { nn.Conv2d(1, 2, { 3, 2 }, { stride = { 9, 2 }, padding = "same" }), 4, 7, { 0, 0, 0, 1 } },
      { nn.StandardizedConv2d(1, 2, 3, { stride = 9, padding = "same" }), 8, 8, 0 },
      { nn.MaxPool2d(2, { stride = 5, padding = "same" }), 11, 16, "same" },
      { nn.MaxPool2d(2, { stride = 5, padding = "same" }), 10, 11, { 0, 0, 0, 1 } },
      { nn.MaxPool2d(2, { stride = 5, padding = "same" }), 10, 14, 0 },
      { nn.AvgPool2d(2, { stride = 4, padding = "same", count_include_pad = false }), 7, 9, { 0, 0, 0, 1 } },
    } do
      local layer, rows, columns, padding = table.unpack(case)
      local net = nn.Sequential { layer }
      assert(net:export_onnx(path, { input = { rows, columns, 1 } }))
      local twin = assert(tr.onnx.import(path))
      assert.same(padding, (twin[1] or twin).padding)
      local x = tr.randn(2, rows, columns, 1)
      assert.is_true(tr.allclose(tr.no_grad(net, x), tr.no_grad(twin, x), 0, 0))
    end
  end)

  it("writes adaptive pooling as the windows that it has, or as products", function()
    local path = support.folder() .. "/adaptive.onnx"
    local function written(layer, rows, columns)
      assert(nn.Sequential { nn.Conv2d(2, 3, 1), layer }:export_onnx(path, { input = { rows, columns, 2 } }))
      return table.concat(table.move(read(path), 3, 4, 1, {}), " "), select(2, read(path))
    end
    assert.equal("GlobalAveragePool Transpose", written(nn.AdaptiveAvgPool2d(1), 5, 7))
    assert.equal("AveragePool Transpose", written(nn.AdaptiveAvgPool2d { 2, 7 }, 4, 7))
    local operators, constants = written(nn.AdaptiveAvgPool2d { 3, 2 }, 5, 7)
    assert.equal("MatMul MatMul", operators)
    assert.same({ { 3, 5 }, { 7, 2 } }, { constants["2.of_rows"], constants["2.of_columns"] })
    local net = nn.Sequential { nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(3), nn.GlobalAvgPool() }
    assert(net:export_onnx(path, { input = { 6, 9, 2 } }))
    local x = tr.randn(2, 6, 9, 2)
    assert.is_true(tr.allclose(tr.no_grad(net, x), tr.no_grad(assert(tr.onnx.import(path)), x), 1e-5, 1e-6))
  end)

  it("leaves the model as it was, and exports what fuse() makes", function()
    local folder = support.folder()
    local net = tr.models.textile { width = 4 }
    assert.is_true(net:export_onnx(folder .. "/a.onnx", { input = { 64, 64, 1 } }))
    assert.is_true(net.training)
    assert.is_true(net:clone():fuse():export_onnx(folder .. "/b.onnx", { input = { 64, 64, 1 } }))
    local function count(path, operator)
      local n = 0
      for _, name in ipairs((read(path))) do n = n + (name == operator and 1 or 0) end
      return n
    end
    assert.equal(6, count(folder .. "/a.onnx", "BatchNormalization"))
    assert.equal(0, count(folder .. "/b.onnx", "BatchNormalization"))
    assert.equal(1, count(folder .. "/b.onnx", "Transpose"))
  end)

  it("says what a layer's method wants that is called by hand", function()
    assert.error_matches(function() nn.ReLU():to_onnx(3) end, "to_onnx: graph is 3, wanted a graph: call export_onnx")
    assert.error_matches(function() nn.Flatten():to_onnx({}, {}) end, "to_onnx: graph is a table, wanted a graph")
  end)

  it("takes a user's module that says how", function()
    local Double = nn.Module "Double"
    function Double.forward(_, x) return x + x end
    local net = nn.Sequential { nn.Linear(2, 2), Double() }
    local path = support.folder() .. "/x.onnx"
    assert.error_matches(function() net:export_onnx(path, { input = { 2 } }) end,
      "Double cannot be exported; give it a method")
    function Double.to_onnx(_, graph, x) return graph:node("Add", { x, x }, {}, x) end
    assert.is_true(net:export_onnx(path, { input = { 2 } }))
    assert.same({ "Gemm", "Add", "Identity" }, (read(path)))
  end)

  it("does not write a forward of its own as its base does", function()
    local path = support.folder() .. "/x.onnx"
    local Base = nn.Module "Base"
    function Base:init() self.fc = nn.Linear(2, 2) end
    function Base:forward(x) return self.fc(x) end
    function Base:to_onnx(graph, x) return graph:module(self.fc, x) end
    local Derived, Same = nn.Module("Derived", Base), nn.Module("Same", Base)
    function Derived:forward(x) return self.fc(x) * 2 end
    assert.is_true(Same():export_onnx(path, { input = { 2 } }))
    assert.error_matches(function() Derived():export_onnx(path, { input = { 2 } }) end, "Derived cannot be exported")
    local changed = Base()
    rawset(changed, "forward", function(_, x) return x end)
    assert.error_matches(function() changed:export_onnx(path, { input = { 2 } }) end, "Base cannot be exported")
  end)

  it("keeps constants apart that modules outside of the attributes call the same", function()
    local Pair = nn.Module "Pair"
    function Pair:init()
      self._a, self._b = nn.Linear(2, 2), nn.Linear(2, 2)
      self.mean = nn.Parameter(tr.ones(2))
    end
    function Pair:forward(x) return self._b(self._a(x)) + self.mean end
    function Pair:to_onnx(graph, x)
      x = graph:module(self._b, graph:module(self._a, x))
      return graph:node("Add", { x, graph:constant(self, "mean", self.mean) }, {}, x)
    end
    local path = support.folder() .. "/x.onnx"
    assert.is_true(Pair():export_onnx(path, { input = { 2 }, normalization = { mean = 0.5 } }))
    local names = {}
    for name in pairs(select(2, read(path))) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "bias", "bias_", "mean", "mean_", "weight", "weight_" }, names)
  end)

  it("takes f64 models, and what fuse() leaves alone", function()
    local path = support.folder() .. "/x.onnx"
    assert.is_true(tr.models.textile({ width = 2 }):to("f64"):export_onnx(path, { input = { 16, 16, 1 } }))
    local net = nn.Concat { nn.Conv2d(1, 1, 1), nn.BatchNorm(1) }
    assert.is_true(net:fuse():export_onnx(path, { input = { 4, 4, 1 } }))
    assert.same({ "Transpose", "Conv", "Transpose", "BatchNormalization", "Concat", "Transpose", "Identity" },
      (read(path)))
  end)

  it("says what is wrong", function()
    local net = nn.Linear(2, 2)
    assert.error_matches(function() net:export_onnx "x.onnx" end, "input is nil, wanted the shape of one input {H,W,C}")
    assert.error_matches(function() net:export_onnx("x.onnx", { inputs = {} }) end, "unknown option 'inputs'")
    assert.error_matches(function() net:export_onnx("x.onnx", { input = { 3 } }) end, "in Linear: linear: ")
    local conv = nn.Conv2d(1, 1, 3, { padding = "same", stride = 2, dilation = 2 })
    local twice, path = nn.Sequential { conv, conv }, support.folder() .. "/x.onnx" -- it sees images of two sizes
    assert.error_matches(function() twice:export_onnx(path, { input = { 8, 8, 1 } }) end, "the padding as numbers")
    local none, message = net:export_onnx("/nonexistent/x.onnx", { input = { 2 } })
    assert.is_nil(none)
    assert.matches("/nonexistent/x.onnx", message, 1, true)
  end)
end)
