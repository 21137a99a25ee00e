--- texres.lower: the list of steps does what the network does.
local tr = require "texres"
local lower = require "texres.lower"
local lowered = require "texres.lowered"
local nn = tr.nn

-- Gives every batch norm factors, shifts and statistics that matter.
local function with_statistics(net)
  for _, m in ipairs(net:modules()) do
    if getmetatable(m) == nn.BatchNorm then
      nn.init.uniform(m.gamma, 0.5, 1.5)
      nn.init.normal(m.beta)
      nn.init.uniform(m.running_var, 0.5, 1.5)
      nn.init.normal(m.running_mean)
    end
  end
  return net:eval()
end

-- The program of a network, which must give what the network gives for images {H,W,C}.
local function agree(net, shape, what)
  with_statistics(net)
  local x = tr.randn(2, table.unpack(shape))
  local program, want = lower(net, shape), tr.no_grad(net, x)
  local shapes = {}
  local got = lowered.run(program, x, function(step, _, y)
    local own = y:shape()
    table.remove(own, 1)
    shapes[step.output] = own
  end)
  assert.same(shape, program.shapes[1])
  for i, step in ipairs(program.steps) do
    assert.equal(i + 1, step.output)
    assert.same(shapes[i + 1], program.shapes[i + 1])
  end
  assert.same(want:shape(), got:shape())
  local atol = 1e-4 * (1 + want:abs():max():item())
  assert.is_true(tr.allclose(got, want, 1e-4, atol), what)
  return program
end

-- "conv relu + <- 1 2" for each step.
local function text_of(program)
  local lines = {}
  for i, step in ipairs(program.steps) do
    local words = { step.kind or step.op }
    if step.residual and not step.residual_last then words[#words + 1] = "+" end
    if step.relu then words[#words + 1] = "relu" end
    if step.residual_last then words[#words + 1] = "+" end
    words[#words + 1] = "<- " .. table.concat(lowered.reads(step), " ")
    lines[i] = table.concat(words, " ")
  end
  return lines
end

local function conv(c, k, options) return nn.Conv2d(c, k, 3, options or { padding = 1, bias = false }) end

describe("lower", function()
  before_each(function() tr.manual_seed(5) end)

  it("gives what every network of texres.models gives", function()
    for _, head in ipairs { "gap", "gmp", "mean_max", "conv" } do
      local program = agree(tr.models.textile { width = 4, head = head }, { 64, 64, 1 }, head)
      for _, step in ipairs(program.steps) do assert.is_true(step.op ~= "scale" and step.op ~= "module") end
    end
    for name, options in pairs {
      resnet18 = { classes = 6 }, resnet34 = { classes = 6, small_input = true }, resnet50 = { classes = 6 },
      wide_resnet50_2 = { classes = 6 }, cifar_resnet = { depth = 8, shortcut = "identity_pad" },
      cifar_preact = { depth = 8 }, wide_resnet = { depth = 10, widen = 1 },
    } do
      agree(tr.models[name](options), { 32, 32, 3 }, name)
    end
    for _, block in ipairs { "basic", "bottleneck", "preact", "preact_bottleneck" } do
      for place, shortcut in ipairs { "identity_pad", "projection", "projection_all" } do
        agree(tr.models.build {
          stages = { { blocks = 2, width = 4 }, { blocks = 1, width = 8 } }, block = block, shortcut = shortcut,
          head = "mean_max", residual = place ~= 1, norm = place == 2 and "none" or "batch", stochastic_depth = 0.3,
          dropout = 0.1, se = 2,
        }, { 16, 16, 3 }, block .. " " .. shortcut)
      end
    end
  end)

  it("gives what every layer gives, alone and in a container", function()
    local shape = { 8, 9, 4 }
    for op, layers in pairs {
      conv = {
        conv(4, 6), conv(4, 6, {}), conv(4, 6, { padding = "same", stride = 2 }), conv(4, 6, { padding = "valid" }),
        conv(4, 6, { padding = { 0, 1, 2, 0 }, stride = { 1, 3 } }), conv(4, 6, { dilation = { 2, 1 }, groups = 2 }),
        conv(4, 6, { stride = 9, padding = "same" }), nn.Conv2d(4, 4, { 1, 4 }, { groups = 4, padding = "same" }),
        nn.StandardizedConv2d(4, 6, 3, { padding = 1 }), nn.Linear(4, 3), nn.PadShortcut(4, 4),
        nn.PadShortcut(4, 7, { stride = 2 }),
      },
      scale = { nn.BatchNorm(4) },
      activation = {
        nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.GELU(), nn.Softplus(), nn.Hardswish(), nn.LeakyReLU(0.2),
        nn.ELU(0.7),
      },
      max_pool = { nn.MaxPool2d(2), nn.MaxPool2d({ 3, 2 }, { stride = 2, padding = 1 }) },
      avg_pool = {
        nn.AvgPool2d(2), nn.AvgPool2d(3, { stride = 2, padding = 1 }),
        nn.AvgPool2d(3, { stride = 2, padding = "same", count_include_pad = false }), nn.AdaptiveAvgPool2d { 4, 3 },
      },
      global_avg_pool = { nn.GlobalAvgPool(), nn.AdaptiveAvgPool2d(1) }, global_max_pool = { nn.GlobalMaxPool() },
      flatten = { nn.Flatten() },
      multiply = { nn.SqueezeExcitation(4, { reduction = 2 }) },
      module = {
        nn.Upsample(2), nn.ConvTranspose2d(4, 3, 2, { stride = 2 }), nn.GroupNorm(2, 4), nn.LayerNorm(4),
        nn.ImageStandardization(), nn.AdaptiveAvgPool2d { 3, 4 },
      },
    } do
      for _, layer in ipairs(layers) do
        local steps = agree(layer, shape, layer:describe()).steps
        assert.equal(op, steps[#steps].op, layer:describe())
        agree(nn.Sequential { conv(4, 4), layer, nn.Identity() }, shape, layer:describe())
      end
    end
    agree(nn.Sequential { nn.GlobalAvgPool(), nn.Linear(4, 5), nn.BatchNorm(5), nn.ReLU(), nn.Flatten() }, shape)
    assert.same({}, lower(nn.Sequential { nn.Dropout(), nn.StochasticDepth() }, shape).steps)
  end)

  it("joins values as containers do", function()
    local shape = { 6, 6, 4 }
    assert.same({ "conv <- 1", "conv <- 1", "cat <- 2 3", "conv <- 4" }, text_of(agree(nn.Sequential {
      nn.Concat { conv(4, 2), conv(4, 3) }, conv(5, 2),
    }, shape)))
    agree(nn.Multiply { conv(4, 4), nn.Sequential { nn.AdaptiveAvgPool2d(1) }, nn.Identity() }, shape)
    agree(nn.Multiply { conv(4, 4), nn.Conv2d(4, 1, 1) }, shape)
    agree(nn.Subtract { conv(4, 4), nn.AdaptiveAvgPool2d(1) }, shape)
    agree(nn.Graph {
      conv(4, 4), nn.ReLU(), steps = { { item = 1, value = 1 }, { sum = { 2, 1 } }, { item = 2, value = 3 },
        { item = 1, value = 4 }, { cat = { 2, 3, 5 } } },
    }, shape)
    assert.error_matches(function()
      lower(nn.Multiply { conv(4, 4), nn.GlobalAvgPool() }, shape)
    end, "lower: multiply of values with 3 and 1 dimensions")
  end)

  it("makes one step of what follows a convolution, where nothing else reads what lies between", function()
    local shape = { 6, 6, 4 }
    assert.same({ "conv relu <- 1", "conv relu + <- 2 2", "conv <- 3", "conv + relu <- 3 4" }, text_of(agree(
      nn.Sequential {
        conv(4, 4), nn.BatchNorm(4), nn.ReLU(), nn.Residual { conv(4, 4), nn.BatchNorm(4), nn.ReLU() },
        nn.Residual {
          conv(4, 4), nn.BatchNorm(4), shortcut = nn.Sequential { conv(4, 4), nn.BatchNorm(4) },
          activation = nn.ReLU(),
        },
      }, shape)))
    assert.same({ "scale relu <- 1", "conv <- 2", "conv + <- 2 3", "scale + relu <- 4 4" }, text_of(agree(
      nn.Sequential {
        nn.BatchNorm(4), nn.ReLU(), nn.Residual { conv(4, 4), shortcut = conv(4, 4) },
        nn.Residual { nn.BatchNorm(4), activation = nn.ReLU() },
      }, shape)))
    assert.same({ "tanh <- 1", "add relu <- 2 1", "sigmoid <- 3" }, text_of(agree(nn.Sequential {
      nn.Residual { nn.Tanh(), activation = nn.ReLU() }, nn.Sigmoid(),
    }, shape)))
    assert.same({ "conv <- 1", "scale <- 2", "cat <- 2 3" }, text_of(agree(nn.Sequential {
      conv(4, 4), nn.Concat { nn.Identity(), nn.BatchNorm(4) },
    }, shape)))
    assert.same({ "conv <- 1", "add <- 2 2" }, text_of(agree(nn.Graph {
      conv(4, 4), steps = { { item = 1, value = 1 }, { sum = { 2, 2 } } },
    }, shape)))
    assert.same({ "conv relu <- 1", "relu <- 2" }, text_of(agree(nn.Sequential {
      conv(4, 4), nn.ReLU(), nn.ReLU(),
    }, shape)))
  end)

  it("folds layers that stand in several places in each, and changes none of them", function()
    local shared = conv(4, 4)
    local net = nn.Sequential { shared, nn.BatchNorm(4), shared, nn.BatchNorm(4), shared }
    local before = shared.weight:totable()
    assert.same({ "conv <- 1", "conv <- 2", "conv <- 3" }, text_of(agree(net, { 6, 6, 4 })))
    assert.same(before, shared.weight:totable())
    net:train()
    lower(net, { 6, 6, 4 })
    assert.is_true(net[2].training)
  end)

  it("calls layers that have a forward of their own, and models that are no container", function()
    local Double = nn.Module("SpecDouble", nn.ReLU)
    function Double:forward(x) return x * 2 end -- luacheck: no self
    local own = nn.Conv2d(4, 4, 1)
    rawset(own, "forward", function(self, x) return x * self.weight:sum() end)
    assert.same({ "conv <- 1", "module <- 2", "module <- 3" }, text_of(agree(nn.Sequential {
      conv(4, 4), Double(), own,
    }, { 6, 6, 4 })))
    local odd = nn.Module { fc = nn.Linear(4, 2), forward = function(self, x) return self.fc(x:mean { 2, 3 }) end }
    assert.equal(odd, agree(odd, { 6, 6, 4 }).steps[1].item)
    assert.same({ "module <- 1" }, text_of(agree(nn.Sequential { odd }, { 6, 6, 4 })))
  end)

  it("gives f32 steps of a network in f64", function()
    local net = nn.Sequential { conv(4, 4), nn.BatchNorm(4), nn.GlobalAvgPool(), nn.Linear(4, 2) }
    with_statistics(net)
    local x = tr.randn(2, 6, 6, 4)
    local want = tr.no_grad(net, x)
    assert.is_true(tr.allclose(lowered.run(lower(net:to "f64", { 6, 6, 4 }), x), want, 1e-4, 1e-4))
  end)
end)
