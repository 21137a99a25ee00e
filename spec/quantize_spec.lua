--- classifier:quantize, texres.nn.quantized and texres quantize: networks in 8 bits.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local input = require "texres.input"
local reference = require "spec.quantized_reference"
local ranges = require "texres.quantize.ranges"
local rounding = require "texres.quantize.rounding"
local safetensors = require "texres.safetensors"
local support = require "spec.support"
local units = require "texres.quantize.units"
local weights = require "texres.quantize.weights"
local nn = tr.nn

local set = tr.data.fabric { count = 48, size = 32, seed = 3 }

-- A classifier of this network, whose batch norms know what they are given.
local function classifier_of(net)
  input.give(net, nil)
  local trainer = tr.Trainer { model = net, epochs = 1, batch = 16, quiet = true }
  trainer:fit(set)
  return require("texres.classifier").new { model = trainer.model }
end

local function images(count)
  local list = {}
  for i = 1, count do list[i] = set:get(i):unsqueeze(1) end
  return core.cat(list, 1)
end

-- What clf gives for images, as logits.
local function logits(clf, x)
  return tr.no_grad(clf.model, input.of(clf.model):batch(x, "spec"))
end

-- Calls f with programs of the core in whose place the reference runs.
local function by_reference(f)
  local own = core.quantized_program
  core.quantized_program = reference
  local ok, result = pcall(f)
  core.quantized_program = own
  return assert(ok and result, result)
end

local function same_bits(a, b) return a:eq(b):to("f64"):min():item() == 1 end

local SE = { stages = { { width = 8 }, { width = 16 } }, block = "bottleneck", se = 4, in_channels = 1, classes = 6 }

local NETWORKS = {
  textile = function() return tr.models.textile { width = 16, head = "mean_max" } end,
  published = function() return tr.models.textile { width = 8, head = "conv" } end,
  residual = function() return tr.models.cifar_resnet { depth = 8, in_channels = 1, classes = 6 } end,
  padded = function()
    return tr.models.cifar_resnet { depth = 8, in_channels = 1, classes = 6, shortcut = "identity_pad" }
  end,
  preact = function() return tr.models.cifar_preact { depth = 8, in_channels = 1, classes = 6 } end,
  gated = function() return tr.models.build(SE) end,
  depthwise = function()
    return nn.Sequential {
      nn.Conv2d(1, 16, 3, { stride = 2 }), nn.DepthwiseSeparable(16, 32), nn.AdaptiveAvgPool2d(5), nn.Conv2d(32, 6, 5),
      nn.Flatten(),
    }
  end,
  odd = function()
    return nn.Sequential {
      nn.ImageStandardization(), nn.Conv2d(1, 8, 3, { padding = 1 }), nn.SiLU(),
      nn.AvgPool2d(3, { stride = 2, padding = 1, count_include_pad = false }), nn.GroupNorm(2, 8),
      nn.Conv2d(8, 8, 3, { groups = 4, padding = "same", dilation = 2 }), nn.Hardswish(),
      nn.Subtract { nn.MaxPool2d(3, { stride = 1, padding = 1 }), nn.Conv2d(8, 8, 1) },
      nn.Residual { nn.Tanh(), activation = nn.ReLU() }, nn.Flatten(), nn.Linear(8 * 16 * 16, 12), nn.ReLU(),
      nn.Linear(12, 6), nn.Tanh(),
    }
  end,
}

describe("weights in 8 and 16 bits", function()
  before_each(function() tr.manual_seed(2) end)

  it("are those of f32 but for half a step of each output channel", function()
    local w = tr.randn(3, 3, 5, 7) * tr.tensor { 1, 10, 0.1, 3, 0, 2, 5 }
    local bytes, scale, worth = weights.direct(w)
    assert.same({ 3, 3, 5, 7 }, bytes:shape())
    assert.equal("u8", bytes.dtype)
    assert.is_true(((worth - w:to "f64"):abs() / scale):max():item() <= 0.5 + 1e-9)
    assert.equal(127 * scale:select(1, 2):item(), worth:select(4, 2):abs():max():item())
    assert.equal(0, worth:select(4, 5):abs():max():item())
    local low = bytes:to "f64"
    assert.is_true(tr.allclose((low - low:ge(128):to "f64" * 256) * scale, worth, 0, 0))
  end)

  it("of Winograd give sums that stay in 32 bits, whatever the image holds, and use what there is", function()
    for _, c in ipairs { 16, 128 } do
      for _, w in ipairs { tr.randn(3, 3, c, 16), tr.ones(3, 3, c, 16) * 1e-3 } do
        local bytes, scale = weights.winograd(w)
        assert.same({ 36, c, 16, 2 }, bytes:shape())
        assert.same({ 36, 16 }, scale:shape())
        local u = bytes:select(4, 1):to "f64" + bytes:select(4, 2):to "f64" * 256
        u = u - u:ge(32768):to "f64" * 65536
        local sums = u:abs():sum(2) -- {36,16}
        local positive, negative = { 5, 2, 5, 3, 3, 5 }, { 5, 8, 5, 3, 3, 5 }
        local most, largest = 0, 0
        for e = 1, 36 do
          local i, j = (e - 1) // 6 + 1, (e - 1) % 6 + 1
          local bound = 255 * math.max(positive[i] * positive[j] + negative[i] * negative[j],
            positive[i] * negative[j] + negative[i] * positive[j])
          most = math.max(most, bound * sums:select(1, e):max():item())
          largest = math.max(largest, u:select(1, e):abs():max():item())
        end
        assert.is_true(most < 1 << 31 and largest <= 32767)
        assert.is_true(most > 0.9 * (1 << 31) or largest > 32000)
      end
    end
  end)
end)

describe("weights that are fitted", function()
  local function images_that_are_smooth(n, size, channels)
    return tr.nn.functional.avg_pool2d(tr.randn(n, size + 2, size + 2, channels), 3, { stride = 1 }) + 1
  end

  -- The mean squared error of a convolution's sums on x with weights that are worth this.
  local function error_of(step, x, worth)
    local o = { stride = step.stride, padding = step.padding, dilation = step.dilation }
    local F = tr.nn.functional
    return (F.conv2d(x, worth:to "f32", o) - F.conv2d(x, step.weight, o)):pow(2):mean():item()
  end

  it("change sums less than those that are rounded to the nearest, on other images too", function()
    tr.manual_seed(3)
    for _, step in ipairs {
      { stride = { 2, 2 }, padding = { 0, 1, 0, 1 }, dilation = { 1, 1 }, kernel = { 3, 3 }, channels = 1 },
      { stride = { 1, 2 }, padding = { 2, 0, 1, 3 }, dilation = { 2, 1 }, kernel = { 2, 3 }, channels = 5 },
    } do
      step.op, step.groups = "conv", 1
      step.weight = tr.randn(step.kernel[1], step.kernel[2], step.channels, 24)
      local seen = {}
      for _ = 1, 3 do rounding.gather(seen, step, images_that_are_smooth(8, 20, step.channels)) end
      local other = images_that_are_smooth(8, 20, step.channels)
      local _, scale, nearest = weights.direct(step.weight)
      local bytes, same_scale, fitted = weights.direct(step.weight, seen)
      assert.is_true(tr.allclose(scale, same_scale, 0, 0))
      assert.same(step.weight:shape(), bytes:shape())
      assert.is_true(error_of(step, other, fitted) < 0.5 * error_of(step, other, nearest))
    end
  end)

  it("know the inputs of each output: where the products' sum is asked for, it is that of a convolution", function()
    tr.manual_seed(4)
    local step = {
      op = "conv", stride = { 2, 1 }, padding = { 1, 0, 2, 1 }, dilation = { 1, 2 }, groups = 1,
      weight = tr.randn(3, 2, 3, 4),
    }
    local x, seen = tr.rand(2, 9, 8, 3), {}
    rounding.gather(seen, step, x)
    local y = tr.nn.functional.conv2d(x, step.weight, {
      stride = step.stride, padding = step.padding, dilation = step.dilation,
    }):to "f64"
    local w = step.weight:reshape(-1, 4):to "f64"
    local squares = (w * seen.products:matmul(w)):sum(1)
    assert.is_true(tr.allclose(squares, y:pow(2):sum { 1, 2, 3 }, 1e-4, 1e-4))
    assert.is_true(tr.allclose(rounding.mean_error(w, seen), y:mean { 1, 2, 3 }, 1e-4, 1e-4))
    assert.equal(y:numel() // 4, seen.count)
  end)

  it("are nearest ones where the inputs are 0, and stay in 8 bits", function()
    local w = tr.randn(6, 3)
    local seen, step = {}, { op = "linear", weight = w }
    rounding.gather(seen, step, tr.zeros(4, 6))
    local _, _, nearest = weights.direct(w)
    local _, _, fitted = weights.direct(w, seen)
    assert.is_true(tr.allclose(nearest, fitted, 0, 0))
    seen = {}
    rounding.gather(seen, step, tr.rand(50, 6) + 5)
    local _, scale, worth = weights.direct(tr.ones(6, 3) * tr.tensor { 1, 0.4999, 1 }, seen)
    assert.is_true((worth / scale):abs():max():item() <= 127)
  end)

  it("are of layers without groups, which are not too large", function()
    local function can(step) return weights.can_be_fitted(step) end
    local conv = { op = "conv", stride = { 2, 2 }, dilation = { 1, 1 }, groups = 1 }
    local function of(weight, groups)
      return setmetatable({ weight = weight, groups = groups }, { __index = conv })
    end
    assert.is_true(can(of(tr.zeros(3, 3, 128, 2))))
    assert.is_false(can(of(tr.zeros(3, 3, 129, 2))))
    assert.is_false(can(of(tr.zeros(3, 3, 1, 4), 4)))
    assert.is_true(can { op = "linear", weight = tr.zeros(8, 2) })
    assert.is_false(can { op = "flatten" })
  end)
end)

describe("ranges", function()
  it("hold 0, which is a byte, and the ends", function()
    for _, range in ipairs { { 0, 3 }, { -1, 2 }, { -5, 0 }, { -1e-3, 1e3 } } do
      local scale, zero = ranges.bytes(table.unpack(range))
      assert.is_true(zero >= 0 and zero <= 255 and math.type(zero) == "integer")
      assert.is_true(scale * (0 - zero) <= range[1] + scale and scale * (255 - zero) >= range[2] - scale)
      assert.equal(scale, (string.unpack("<f", string.pack("<f", scale))))
    end
    assert.same({ 1.0, 0 }, { ranges.bytes(0, 0) })
  end)

  it("leave out as little as the method says", function()
    local lower = require "texres.lower"
    local program = lower(nn.Sequential { nn.ReLU() }, { 10, 10, 1 })
    local x = tr.arange(1, 10000):to("f32"):reshape(100, 10, 10, 1) - 100
    local function found(method, more)
      local given = false
      local function batches()
        if given then return nil end
        given = true
        return x
      end
      local o = { method = method, margin = 0, percentile = 0.99 }
      for key, value in pairs(more or {}) do o[key] = value end
      return ranges.find(program, batches, o)
    end
    for _, method in ipairs(ranges.METHODS) do
      assert.same({ -99, 9900 }, { table.unpack(found(method)[1]) }, method) -- the input: all of it
    end
    assert.same({ 0, 9900 }, { table.unpack(found "minmax"[2]) })
    assert.same({ 0, 9900 * 1.5 }, { table.unpack(found("minmax", { margin = 0.5 })[2]) })
    assert.same({ 0, 9800 }, { table.unpack(found "percentile"[2]) })
    local layers = lower(nn.Sequential { nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 10) }, { 10, 10, 1 })
    local function reach(value, margin)
      local given
      return ranges.find(layers, function()
        if not given then
          given = true
          return x
        end
      end, { method = "minmax", margin = margin })[value][2]
    end
    for value, share in pairs { [2] = 1.1, [3] = 1.5 } do -- with a single pixel, more
      assert.is_true(math.abs(reach(value, 0.1) - share * reach(value, 0)) <= 1e-6 * reach(value, 0))
    end
    assert.is_true(math.abs(reach(3, 0.4) - 2 * reach(3, 0)) <= 1e-6 * reach(3, 0))
    assert.is_true(found "mse"[2][2] > 9700)
    assert.is_true(math.abs(found "minmax"[2].mean:item() - x:relu():mean():item()) < 0.1)
    x = tr.rand(300, 10, 10, 1)
    x:select(1, 1):select(1, 1):select(1, 1):fill(2) -- one pixel of 30,000
    assert.equal(2, found "minmax"[2][2])
    assert.is_true(found "mse"[2][2] < 2)
  end)
end)

describe("ranges of what a network is given", function()
  local lower = require "texres.lower"
  local program = lower(nn.Sequential { nn.ReLU() }, { 4, 4, 1 })
  local pixels = { black = -0.7, step = 0.011 }

  local function range_of(x)
    local given = false
    return ranges.find(program, function()
      if given then return nil end
      given = true
      return x
    end, { method = "minmax", margin = 0.1 }, pixels)[1]
  end

  it("are those of 8-bit pixels, so that each byte is a pixel", function()
    local number = tr.arange(3, 18):to "f64"
    local range = range_of((number * pixels.step + pixels.black):to("f32"):reshape(1, 4, 4, 1))
    local scale, zero = ranges.bytes(range[1], range[2])
    for _, pixel in ipairs { 0, 1, 64, 255 } do
      local x = pixel * pixels.step + pixels.black
      assert.equal(pixel, math.floor(x / scale + zero + 0.5))
      assert.is_true(math.abs(x - (pixel - zero) * scale - range.less) < 1e-6)
    end
    assert.is_true(range.less ~= 0 and math.abs(range.less) <= 0.5 * pixels.step)
  end)

  it("are what was seen where pixels are no bytes", function()
    for _, number in ipairs { tr.arange(3, 18):to "f32" + 0.3, tr.arange(250, 265):to "f32" } do
      local x = number * pixels.step + pixels.black
      local range = range_of(x:reshape(1, 4, 4, 1))
      assert.is_nil(range.less)
      assert.is_true(math.abs(range[2] - 1.1 * math.max(0, x:max():item())) < 1e-6)
    end
  end)
end)

describe("units of channels", function()
  local lower = require "texres.lower"

  -- The units of a network's values, the reach of channel c being c.
  local function units_of(net, shape)
    net:eval()
    local program = lower(net, shape)
    local found = {}
    for value, own in ipairs(program.shapes) do found[value] = { reach = tr.arange(1, own[#own]):to "f64" } end
    return units.of({ steps = program.steps, output = program.output }, found, program.shapes), program
  end

  local function conv(from, to) return nn.Conv2d(from, to, 3, { padding = 1 }) end

  -- The values, by number, that have units.
  local function having(net, shape)
    local unit, program = units_of(net, shape)
    local list = {}
    for value = 1, #program.shapes do
      if unit[value] then list[#list + 1] = value end
    end
    return list
  end

  it("are the square roots of what channels reach, from what makes them to what multiplies them back", function()
    local unit = units_of(nn.Sequential {
      conv(1, 4), nn.MaxPool2d(2), nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(8, 3),
    }, { 8, 8, 1 })
    local want = (tr.arange(1, 4):to "f64" / 4):sqrt()
    assert.is_true(tr.allclose(want, unit[2], 0, 0))
    assert.is_true(tr.allclose(tr.cat({ want, want }, 1), unit[6], 0, 0))
    assert.is_nil(unit[1])
    assert.is_nil(unit[7])
    assert.equal(1, units.stretch(nil, want))
    assert.is_true(math.abs(units.stretch(tr.tensor({ 1, 0.5 }, { dtype = "f64" }), tr.tensor { 1, 3 }) - 2) < 1e-6)
  end)

  it("are those of what is added, and none where somebody can't multiply them back", function()
    local function residual() return nn.Residual { conv(4, 4) } end
    assert.same({ 2, 3, 4 }, having(nn.Sequential { conv(1, 4), residual(), residual(), conv(4, 2) }, { 8, 8, 1 }))
    local unit = units_of(nn.Sequential { conv(1, 4), residual(), conv(4, 2) }, { 8, 8, 1 })
    assert.is_true(tr.allclose(unit[2], unit[3], 0, 0))
    assert.same({}, having(nn.Sequential { conv(1, 4), residual(), nn.Sigmoid(), conv(4, 2) }, { 8, 8, 1 }))
    assert.same({}, having(nn.Sequential { conv(1, 4), nn.Flatten(), nn.Linear(4 * 64, 2) }, { 8, 8, 1 }))
    assert.same({ 2, 3 }, having(nn.Sequential { conv(1, 4), nn.Flatten(), nn.Linear(4, 2) }, { 1, 1, 1 }))
    assert.same({}, having(nn.Sequential { nn.MaxPool2d(2), residual(), conv(4, 4) }, { 8, 8, 4 }))
    local grouped = nn.Conv2d(4, 4, 3, { groups = 2 })
    assert.same({ 3 }, having(nn.Sequential { conv(1, 4), grouped, conv(4, 4) }, { 8, 8, 1 }))
  end)

  it("let a small channel be seen beside a large one", function()
    tr.manual_seed(14)
    local clf = classifier_of(nn.Sequential {
      nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 28 * 28, 6),
    })
    local net = clf.model
    local before = logits(clf, images(8))
    local function off()
      return (logits(clf:quantize(set, { images = 16 }), images(8)) - logits(clf, images(8))):pow(2):mean():item()
    end
    tr.no_grad(function()
      net[1].weight:slice(4, 9, 32):copy_from(net[1].weight:slice(4, 9, 32) / 50)
      net[1].bias:slice(1, 9, 32):copy_from(net[1].bias:slice(1, 9, 32) / 50)
      net[3].weight:slice(3, 9, 32):copy_from(net[3].weight:slice(3, 9, 32) * 50)
    end)
    assert.is_true((logits(clf, images(8)) - before):abs():max():item() < 1e-4) -- the same network
    local with = off()
    local own = units.of
    finally(function() units.of = own end)
    units.of = function() return {} end
    local without = off()
    assert.is_true(with < 0.3 * without, with / without)
  end)
end)

describe("a network in 8 bits", function()
  it("is given 8-bit pixels without rounding", function()
    tr.manual_seed(12)
    local net = nn.Sequential { nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 30 * 30, 6) }
    local small = classifier_of(net):quantize(set, { images = 8 })
    local section, norm = small.model._description.sections[1], input.of(net).normalization
    local value = section.values[section.steps[1].output]
    assert.is_true(math.abs(value.scale * 255 * norm.std[1] - 1) < 1e-6)
    assert.equal(math.floor(255 * norm.mean[1] + 0.5), value.zero)
  end)

  it("joins values without rounding them twice", function()
    tr.manual_seed(13)
    local clf = classifier_of(tr.models.textile { width = 4, head = "mean_max" })
    local section = clf:quantize(set, { images = 8 }).model._description.sections[1]
    local joined
    for _, step in ipairs(section.steps) do
      if step.op == "cat" then joined = step end
    end
    for _, value in ipairs(joined.inputs) do
      assert.equal(section.values[joined.output].scale, section.values[value].scale)
      assert.equal(section.values[joined.output].zero, section.values[value].zero)
    end
  end)

  it("gives the bits of its definition, in batches of any size, on any number of threads", function()
    local threads = tr.num_threads()
    finally(function() tr.set_num_threads(threads) end)
    for name, make in pairs(NETWORKS) do
      tr.manual_seed(4)
      local clf = classifier_of(make())
      local small = clf:quantize(set, { images = 20, method = name == "gated" and "mse" or nil })
      local x = images(7)
      local want = by_reference(function() return logits({ model = small.model:clone() }, x) end)
      for count = 1, 3 do
        tr.set_num_threads(count)
        assert.is_true(same_bits(logits(small, x), want), name)
      end
      for i = 1, 7 do
        assert.is_true(same_bits(logits(small, x:slice(1, i, i)), want:slice(1, i, i)), name)
      end
      local plain = logits(clf, x)
      assert.is_true((plain - want):abs():max():item() < 0.1 * (1 + plain:abs():max():item()), name)
    end
  end)

  it("gives nearly what it gave in f32, by each method, and classes as before", function()
    tr.manual_seed(5)
    local net = tr.models.textile { width = 8 }
    tr.Trainer({ model = net, epochs = 12, batch = 16, optimizer = { "adamw", lr = 1e-2 }, quiet = true }):fit(set)
    local clf = require("texres.classifier").new { model = net }
    local before = clf:evaluate(set)
    for _, method in ipairs(ranges.METHODS) do
      for _, corrected in ipairs { true, false } do
        local after = clf:quantize(set, { method = method, bias_correction = corrected }):evaluate(set)
        assert.is_true((after.scores - before.scores):abs():max():item() < 0.2, method)
        local same = after.scores:argmax(2):eq(before.scores:argmax(2)):to("f64"):mean():item()
        assert.is_true(same > 0.95, method)
      end
    end
  end)

  it("loses less with its outputs shifted by what rounding takes", function()
    tr.manual_seed(6)
    local net = nn.Sequential {
      nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 5, { groups = 2 }), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(8, 6),
    }
    nn.init.uniform(net[1].weight, 0.5, 1.5)
    tr.no_grad(function() net[3].weight:slice(1, 1, 1):slice(2, 1, 1):mul(40) end)
    local clf = classifier_of(net)
    local x = images(16)
    local want = logits(clf, x):mean(1)
    local function off(corrected)
      local small = clf:quantize(set, { bias_correction = corrected, margin = 0 })
      return (logits(small, x):mean(1) - want):abs():sum():item()
    end
    assert.is_true(off(true) < off(false))
  end)

  it("is saved, loaded, copied and changed as any", function()
    tr.manual_seed(7)
    local clf = classifier_of(NETWORKS.odd())
    local small = clf:quantize(set, { images = 8, method = "percentile" })
    assert.equal("Quantized(percentile: 5 layers in 8 bits, 2 in f32)", small.model:describe())
    local path, x = support.folder() .. "/small.safetensors", images(3)
    assert(small:save(path))
    local again = assert(tr.load(path))
    assert.same(small.classes, again.classes)
    assert.same(small:predict(x), again:predict(x))
    assert.is_true(same_bits(logits(small, x), logits({ model = small.model:clone() }, x)))
    local twin = again.model:clone()
    local before = logits(again, x)
    twin.tensors[2]["step.2.shift"]:fill(1)
    assert.is_true(same_bits(logits(again, x), before))
    assert.is_false(same_bits(logits({ model = twin }, x), before))
    twin:load_state_dict(again.model:state_dict())
    assert.is_true(same_bits(logits({ model = twin }, x), before))
  end)

  it("gives in f64 what it gave in f32, and says that gradients can't tell what it looks at", function()
    for _, name in ipairs { "textile", "odd" } do
      tr.manual_seed(7)
      local small, x = classifier_of(NETWORKS[name]()):quantize(set, { images = 8 }), images(3)
      local before = logits(small, x)
      local wide = small.model:clone():to "f64"
      local off = (logits({ model = wide }, x):to "f32" - before):abs():max():item()
      assert.is_true(off < 1e-5, name)
      assert.is_true(same_bits(logits({ model = wide:to "f32" }, x), before), name)
      assert.matches("coverage: pixels that no gradient", small.model:check({ 1, 32, 32, 1 }).unmeasured, 1, true)
    end
  end)

  it("of a file that is damaged is refused with the path", function()
    tr.manual_seed(8)
    local small = classifier_of(tr.models.textile { width = 2 }):quantize(set, { images = 8 })
    local folder = support.folder()
    local path = folder .. "/small.safetensors"
    assert(small:save(path))
    local tensors, metadata = assert(safetensors.load(path))
    local channels = '"channels":{"1":1,"2":2}'
    for from, to in pairs {
      [channels] = '"channels":{"1":1,"2":3}', ['"sections":'] = '"section":', [channels .. ","] = "",
      ['"kernel":{"1":3,"2":3}'] = '"kernel":{"1":3,"2":1000000000}',
    } do
      local text, count = metadata.texres:gsub(from, to)
      assert.is_true(count > 0, from)
      local broken = folder .. "/broken.safetensors"
      assert(safetensors.save(broken, tensors, { texres = text }))
      local none, message = checkpoint.load(broken)
      assert.is_nil(none, from)
      assert.matches(broken, message, 1, true)
    end
  end)

  it("keeps what belongs to the scores", function()
    tr.manual_seed(9)
    local clf = classifier_of(tr.models.textile { width = 2 })
    clf:temper(2)
    clf:set_operating_point(clf:evaluate(set):operating_point { false_reject = 0.2 })
    local small = clf:quantize(set, { images = 8 })
    assert.equal(2, input.of(small.model).temperature)
    assert.equal(clf.operating_point.threshold, small.operating_point.threshold)
    assert.equal("textile", small.model.name)
    assert.is_not_nil(small:predict((set:get(1))).verdict)
  end)

  it("is refused where it can't be made", function()
    tr.manual_seed(10)
    local clf = classifier_of(tr.models.textile { width = 2 })
    local function refuses(message, f) assert.error_matches(f, message) end
    refuses('method is "worst"', function() clf:quantize(set, { method = "worst" }) end)
    refuses("quantize: the model is quantized already", function() clf:quantize(set):quantize(set) end)
    refuses("quantize: an ensemble is not one network", function() tr.Ensemble({ clf, clf }):quantize(set) end)
    refuses("quantize: the set", function() clf:quantize(5) end)
    refuses("quantize: the set: the images are", function() clf:quantize(tr.data.fabric { count = 6, size = 48 }) end)
    for _, number in ipairs { 0 / 0, math.huge } do
      local broken = classifier_of(tr.models.textile { width = 2 })
      core.no_grad(function() broken.model:parameters()[1]:fill(number) end)
      refuses("quantize: the network makes numbers of these images that are not finite", function()
        broken:quantize(set, { images = 4 })
      end)
    end
    local own = nn.Sequential { nn.GroupNorm(1, 1), nn.Flatten(), nn.LayerNorm(32 * 32) }
    input.give(own, input.of(clf.model))
    refuses("quantize: no convolution and no dense layer", function()
      require("texres.classifier").new({ model = own }):quantize(set)
    end)
  end)
end)

describe("texres quantize", function()
  it("writes the network in 8 bits and tells accuracy before and after", function()
    tr.manual_seed(11)
    local folder = support.folder()
    local cloth, path, out = folder .. "/cloth", folder .. "/net.safetensors", folder .. "/small.safetensors"
    assert(set:save_folder(cloth))
    local clf = classifier_of(tr.models.textile { width = 2 })
    assert(clf:save(path))
    local status, text, err = support.texres("quantize", path, cloth, "--out", out, "--method", "mse", "--images", "20")
    assert.equal(0, status, err)
    assert.matches("before +accuracy %d", text)
    assert.matches("8 bits +accuracy %d", text)
    assert.matches("the same class for %d.* of 48 images", text)
    assert.is_true(#assert(tr.load(out)).classes == 6)
    assert.equal(2, (support.texres("quantize", path, cloth)))
    assert.equal(1, (support.texres("quantize", folder .. "/none", cloth, "--out", out)))
    local before = support.read_file(path)
    status, text, err = support.texres("quantize", path, cloth, "--out", path)
    assert.same({ 1, "" }, { status, text })
    assert.matches("this is the network itself: name another file to write", err)
    assert.equal(before, support.read_file(path))
  end)

  it("says that unknown images are no longer told", function()
    tr.manual_seed(12)
    local folder = support.folder()
    local cloth, path, out = folder .. "/cloth", folder .. "/net.safetensors", folder .. "/small.safetensors"
    assert(set:save_folder(cloth))
    local clf = classifier_of(tr.models.textile { width = 2 })
    local function quantized()
      assert(clf:save(path))
      local status, text, err = support.texres("quantize", path, cloth, "--out", out, "--images", "8")
      assert.equal(0, status, err)
      return text
    end
    assert.is_nil(quantized():find "unknown")
    clf:fit_novelty(set, { calibrate = set })
    assert.matches("unknown images are not told in 8 bits", quantized(), 1, true)
    local small = assert(tr.load(out))
    assert.is_nil(small.novelty)
    assert.error_matches(function() small:fit_novelty(set, { calibrate = set }) end,
      "the features of a network in 8 bits can't be looked at")
  end)
end)
