--- Looking at a network before it is trained: what it costs, what it sees of its input, what is probably wrong with it.
local tr = require "texres"
local reach = require "texres.nn.reach"
local support = require "spec.support"
local nn, F, models = tr.nn, tr.nn.functional, tr.models

local function conv(c_in, c_out, kernel, options)
  options = options or {}
  options.padding = options.padding or kernel // 2
  if options.bias == nil then options.bias = false end
  return nn.Conv2d(c_in, c_out, kernel, options)
end

--- A module with a forward of its own, into which no plan looks.
local function closed(layer)
  return nn.Module { layer = layer, forward = function(self, x) return self.layer(x) end }
end

describe("costs", function()
  it("count parameters, multiply-adds and bytes, layer by layer", function()
    local net = nn.Sequential {
      { conv = conv(3, 8, 3, { stride = 2 }) }, nn.ReLU(), nn.Flatten(), { fc = nn.Linear(128, 2) },
    }
    local costs = net:costs { 2, 8, 8, 3 }
    assert.equal(net:num_parameters(), costs.parameters)
    assert.equal(2 * (16 * 216 + 256), costs.multiply_adds)
    local rows = costs.rows
    assert.same({ "conv", "2", "3", "fc" }, { rows[1].name, rows[2].name, rows[3].name, rows[4].name })
    assert.same({ 216, 2 * 16 * 216, 2 * 128 * 4 }, { rows[1].parameters, rows[1].multiply_adds, rows[1].bytes })
    assert.same({ 2, 4, 4, 8 }, rows[2].shape)
    assert.same({ 258, 512 }, { rows[4].parameters, rows[4].multiply_adds })
    assert.equal(1, select("#", net:costs { 2, 8, 8, 3 }))
    assert.error_matches(function() net:costs(3) end, "costs: shape is 3, wanted the shape of an input such as")
    assert.error_matches(function() net:check { 1, 0 } end, "check: size 2 is 0")
  end)
end)

describe("receptive fields", function()
  local function field_of(net, layer, shape)
    local size = reach.fields(net, assert(reach.measure(net, shape)))[layer]
    return size[#size]
  end

  -- Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", 2019, has 435 for ResNet-18
  it("are the published ones", function()
    local net = models.resnet18()
    assert.same({ 435, 435 }, field_of(net, net.stage4[2].activation, { 1, 64, 64, 3 }))
    assert.matches("stage4.2.activation[^\n]* 435x435\n", net:summary { 1, 64, 64, 3 })
  end)

  it("are measured where a layer does not tell its window", function()
    for _, layer in ipairs {
      conv(1, 2, 3), conv(1, 2, 5, { stride = 2 }), conv(1, 1, { 3, 5 }, { dilation = 2, padding = "same" }),
      nn.MaxPool2d(3, { stride = 2, padding = 1 }), nn.AvgPool2d(2),
    } do
      local own = closed(layer)
      local net = nn.Sequential { conv(1, 1, 3), own, conv(layer.weight and layer.weight:size(4) or 1, 1, 3) }
      local open = nn.Sequential { net[1], layer, net[3] }
      local shape = { 1, 48, 48, 1 }
      assert.same(field_of(open, net[3], shape), field_of(net, net[3], shape), layer:describe())
    end
  end)

  it("are those of the positions that see most, where a layer enlarges", function()
    local shape = { 1, 24, 24, 1 }
    for _, row in ipairs {
      { nn.Upsample(2), "3x3", "4x4" }, { nn.Upsample(3), "3x3", "4x4" },
      { nn.ConvTranspose2d(1, 1, 3, { stride = 2 }), "4x4", "5x5" },
      { nn.ConvTranspose2d(1, 1, 2, { stride = 2 }), "3x3", "4x4" },
    } do
      local text = nn.Sequential { conv(1, 1, 3), row[1], conv(1, 1, 3) }:summary(shape)
      assert.matches("\n2 [^\n]* " .. row[2] .. "\n3 [^\n]* " .. row[3] .. "\n", text)
    end
  end)

  it("are everything behind what joins all pixels, and the larger one of two paths", function()
    local shape = { 1, 12, 12, 4 }
    local last, inner = nn.ReLU(), nn.ReLU()
    local net = nn.Sequential {
      nn.Concat { conv(4, 2, { 1, 7 }, { padding = "same" }), conv(4, 2, { 3, 1 }, { padding = "same" }) }, inner,
      nn.SqueezeExcitation(4), last,
    }
    assert.same({ 3, 7 }, field_of(net, inner, shape))
    assert.same({ math.huge, math.huge }, field_of(net, last, shape))
    assert.matches("2%s+ReLU%(%)[^\n]* 3x7\n", net:summary(shape))
    assert.matches("4%s+ReLU%(%)[^\n]* all\n", net:summary(shape))
    local joining = {
      nn.SqueezeExcitation(4), nn.GlobalAvgPool(), nn.GlobalMaxPool(), nn.AdaptiveAvgPool2d(1),
      nn.Multiply { nn.Identity(), nn.AdaptiveAvgPool2d(1) },
    }
    for _, first in ipairs(joining) do -- one behind another
      for _, second in ipairs { nn.GlobalMaxPool(), nn.AdaptiveAvgPool2d(2), conv(4, 4, 3), nn.Upsample(2) } do
        if #first(tr.zeros(shape)):shape() == 4 then
          local relu = nn.ReLU()
          local both = nn.Sequential { first, second, relu }
          assert.same({ math.huge, math.huge }, field_of(both, relu, shape))
          assert.matches(" all\n%-", both:summary(shape))
        end
      end
    end
  end)
end)

describe("coverage", function()
  -- one pixel after the other is changed in the network itself, with positive weights, which lets nothing be hidden
  local function changes(net, shape)
    local state = net:state_dict()
    for name, t in pairs(state) do state[name] = t:detach():abs() + 0.1 end
    net:load_state_dict(state)
    return tr.no_grad(function()
      local x = tr.rand(shape, { dtype = "f64" })
      local y, count = net(x), 0
      for row = 1, shape[2] do
        for column = 1, shape[3] do
          local other = x:clone()
          other:slice(2, row, row):slice(3, column, column):fill(1e3)
          if (net(other) - y):abs():max():item() > 0 then count = count + 1 end
        end
      end
      return count / (shape[2] * shape[3])
    end)
  end

  local nets = {
    strided = nn.Sequential { conv(1, 2, 3, { stride = 4, padding = 0 }), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2) },
    pooled = nn.Sequential { conv(1, 2, 3), nn.MaxPool2d(2, { stride = 3 }), nn.GlobalMaxPool() },
    skipped = nn.Sequential {
      nn.Residual { conv(1, 4, 1, { stride = 2 }), conv(4, 4, 1), shortcut = nn.PadShortcut(1, 4, { stride = 2 }) },
      nn.GlobalAvgPool(),
    },
    whole = nn.Sequential {
      nn.Residual { conv(1, 4, 3, { stride = 2 }), nn.ReLU(), shortcut = conv(1, 4, 1, { stride = 2 }) },
      nn.Concat { nn.GlobalMaxPool(), nn.GlobalAvgPool() },
    },
    head = nn.Sequential {
      conv(1, 2, 3, { stride = 2 }), nn.Residual { conv(2, 2, 3), conv(2, 2, 3) },
      conv(2, 4, 3, { stride = 9 }), nn.Flatten(),
    },
    own = nn.Sequential { closed(conv(1, 2, 3, { stride = 5, padding = 0 })), nn.GlobalAvgPool() },
  }
  for name, net in pairs(nets) do
    it("is what changing each pixel finds: " .. name, function()
      local shape = { 1, 13, 12, 1 }
      if name == "own" then shape = { 1, 12, 12, 1 } elseif name == "strided" then shape[2] = 12 end
      local share = assert(reach.measure(net, shape)).share
      assert.near(changes(net:clone():to "f64":eval(), shape), share, 1e-12)
      assert.equal(name == "whole", share == 1)
    end)
  end

  it("of standardized convolutions is that of plain ones", function()
    local function share(make)
      local net = nn.Sequential {}
      for i = 1, 3 do net:append(make(i, i + 1, 3, { stride = i + 1 })):append(nn.ReLU()) end
      return assert(reach.measure(net, { 1, 40, 40, 1 })).share
    end
    assert.equal(share(nn.Conv2d), share(nn.StandardizedConv2d))
  end)

  it("is in the summary", function()
    assert.matches("input {1,64,64,1}, of which 35.3 %% can influence", models.textile { head = "conv" }
      :summary { 1, 64, 64, 1 })
    assert.matches("of which 100.0 %% can influence", models.textile { width = 4 }:summary { 1, 64, 64, 1 })
  end)

  it("is that of both sides of a difference, also where the two are alike", function()
    local shape = { 1, 12, 12, 3 }
    for _, pair in ipairs {
      { conv(3, 8, 3), conv(3, 8, 3) }, { nn.AvgPool2d(2), nn.MaxPool2d(2) },
      { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, { nn.Linear(3, 8), nn.Linear(3, 8) },
    } do
      local own = nn.Module { a = pair[1], b = pair[2], forward = function(self, x) return self.a(x) - self.b(x) end }
      for _, difference in ipairs { nn.Subtract(pair), own } do
        assert.equal(1, assert(reach.measure(nn.Sequential { difference }, shape)).share)
      end
    end
  end)

  it("does not ask which gradients a Residual is to cut", function()
    local net = nn.Sequential { nn.Residual { conv(3, 3, 3), grad_skip = false, grad_body = false } }
    assert.equal(1, assert(reach.measure(net, { 1, 8, 8, 3 })).share)
    assert.is_false(net[1].grad_skip)
  end)

  it("is not told where a layer of one's own may look elsewhere than its gradient says", function()
    local net = nn.Sequential { function(x) return x:max { 2, 3 } end, nn.Linear(1, 2) }
    assert.is_nil(assert(reach.measure(net, { 1, 8, 8, 1 })).share)
    assert.is_nil(net:check({ 1, 8, 8, 1 }).coverage)
    assert.not_matches("influence", net:summary { 1, 8, 8, 1 })
  end)

  it("says why it could not be measured", function()
    local tied = nn.Sequential { nn.GlobalAvgPool(), nn.Linear(4, 3) }
    local net = nn.Module { body = tied, forward = function(self, x)
      return F.linear(F.global_avg_pool(x), self.body[2].weight)
    end }
    local found = net:check { 1, 8, 8, 4 }
    assert.is_string(found.unmeasured)
    assert.matches("not measured: ", tostring(found), 1, true)
    assert.is_string(net:summary { 1, 8, 8, 4 })
    local pair = nn.Module { layer = conv(4, 2, 3), forward = function(self, x) return { self.layer(x), x } end }
    assert.matches("the output is {a tensor, a tensor}, wanted a tensor", pair:check({ 1, 8, 8, 4 }).unmeasured)
    assert.equal(0, #pair:check { 1, 8, 8, 4 })
  end)
end)

describe("check", function()
  local function kinds(net, shape)
    local list = {}
    for _, finding in ipairs(net:check(shape)) do list[#list + 1] = finding.kind end
    return table.concat(list, ", ")
  end

  local IMAGE, HALF = { 2, 16, 16, 3 }, { stride = 2 }
  local function net_of(...)
    local items = { ... }
    items[#items + 1] = nn.GlobalAvgPool()
    items[#items + 1] = nn.Linear(8, 4)
    return nn.Sequential(items)
  end

  -- each fault, and the same network without it
  local faults = {
    coverage = {
      nn.Sequential { conv(3, 8, 3, { padding = 0, stride = 2 }), nn.GlobalAvgPool(), nn.Linear(8, 4) },
      nn.Sequential { conv(3, 8, 3, { padding = { 0, 1, 0, 1 }, stride = 2 }), nn.GlobalAvgPool(), nn.Linear(8, 4) },
    },
    ["coverage, stride"] = {
      net_of(conv(3, 8, 3), conv(8, 8, 1, { stride = 2 }), conv(8, 8, 2, { stride = 3, padding = 0 })),
      net_of(conv(3, 8, 3), conv(8, 8, 3, { stride = 2 }), conv(8, 8, 2, { stride = 2, padding = 0 })),
    },
    stride = {
      net_of(conv(3, 8, 5), nn.Residual { conv(8, 8, 1, { stride = 2 }), shortcut = nn.PadShortcut(8, 8, HALF) }),
      net_of(conv(3, 8, 5), nn.Residual { conv(8, 8, 3, { stride = 2 }), shortcut = nn.PadShortcut(8, 8, HALF) }),
    },
    unreached = {
      nn.Module {
        used = net_of(conv(3, 8, 3)), spare = nn.Linear(8, 4), forward = function(self, x) return self.used(x) end,
      },
      nn.Module {
        used = net_of(conv(3, 8, 3)), spare = nn.Linear(4, 4),
        forward = function(self, x) return self.spare(self.used(x)) end,
      },
    },
    softmax = {
      nn.Sequential { net_of(conv(3, 8, 3)), function(x) return F.softmax(x, -1) end },
      nn.Sequential { net_of(conv(3, 8, 3)), function(x) return F.log_softmax(x, -1) end },
    },
    ["one value"] = {
      nn.Sequential { nn.AvgPool2d(16), conv(3, 8, 1), nn.GroupNorm(8, 8), nn.Flatten(), nn.Linear(8, 4) },
      nn.Sequential { nn.AvgPool2d(16), conv(3, 8, 1), nn.GroupNorm(4, 8), nn.Flatten(), nn.Linear(8, 4) },
    },
    bias = {
      net_of(conv(3, 8, 3, { bias = true }), nn.BatchNorm(8), nn.ReLU()),
      net_of(conv(3, 8, 3, { bias = true }), nn.ReLU(), nn.BatchNorm(8)),
    },
    relu = {
      net_of(conv(3, 8, 3), nn.Residual { conv(8, 8, 3), nn.BatchNorm(8), nn.ReLU(), nn.StochasticDepth(0.1) }),
      net_of(conv(3, 8, 3), nn.Residual { conv(8, 8, 3), nn.BatchNorm(8), activation = nn.ReLU() }),
    },
  }
  for name, pair in pairs(faults) do
    it("finds one fault, and nothing in the same network without it: " .. name, function()
      local found = kinds(pair[1], IMAGE)
      assert.equal(name, name == "coverage, stride" and found:gsub("stride, stride", "stride") or found)
      assert.equal("", kinds(pair[2], IMAGE))
    end)
  end

  it("tells what, where and why", function()
    local text = tostring(models.textile({ width = 4, head = "conv" }):check { 1, 64, 64, 1 })
    assert.matches("textile, input {1,64,64,1}: 6 findings\n", text, 1, true)
    assert.matches("only 35.3 % of the pixels can influence the output; of 64 rows 26 are never seen", text, 1, true)
    assert.matches("head.conv.conv has a stride of 9, larger than its window of 3: only 14.1 % of what", text, 1, true)
    assert.matches("head.conv.norm has one value for each channel of {1,1,1,32}", text, 1, true)
    assert.matches("the body of block1 ends in a ReLU, block1.1.3, before the sum", text, 1, true)
    assert.matches("nothing found", tostring(nn.Linear(3, 2):check { 1, 3 }))
  end)

  it("sees faults inside containers that a forward of one's own calls, and parameters by name", function()
    local found = nn.Module {
      body = nn.Sequential { { c = nn.Conv2d(3, 8, 3) }, { n = nn.BatchNorm(8) } },
      spare = nn.Linear(8, 4), idle = nn.Parameter(tr.ones(2)),
      forward = function(self, x) return F.global_avg_pool(self.body(x)) end,
    }:check(IMAGE)
    local by_layer = {}
    for _, finding in ipairs(found) do by_layer[finding.layer] = finding.kind .. ": " .. finding.text end
    assert.matches("bias: body.c has a bias, which body.n subtracts", by_layer["body.c"], 1, true)
    assert.matches("no gradient reaches spare.weight, spare.bias: they have", by_layer.spare, 1, true)
    assert.matches("no gradient reaches idle: it has", by_layer[""], 1, true)
    assert.equal(3, #found)
  end)

  it("takes a bias for lost behind each kind of layer that has one", function()
    for _, make in ipairs { nn.Conv2d, nn.ConvTranspose2d, nn.StandardizedConv2d } do
      assert.equal("bias", kinds(net_of(make(3, 8, 3), nn.BatchNorm(8)), IMAGE))
      assert.equal("", kinds(net_of(make(3, 8, 3, { bias = false }), nn.BatchNorm(8)), IMAGE))
    end
    assert.equal("bias", kinds(nn.Sequential { nn.Linear(3, 8), nn.BatchNorm(8), nn.Linear(8, 4) }, { 2, 3 }))
  end)

  it("finds norms over one value of each kind", function()
    for _, pair in ipairs {
      { nn.LayerNorm(1), "place of {2,16,16,1}", conv(3, 1, 3) },
      { nn.ImageStandardization(), "image of {2,1,1,1}", nn.Sequential { nn.AvgPool2d(16), conv(3, 1, 1) } },
    } do
      local found = nn.Sequential { pair[3], { norm = pair[1] }, nn.GlobalAvgPool(), nn.Linear(1, 4) }:check(IMAGE)
      assert.equal(1, #found)
      assert.matches("one value: norm has one value for each " .. pair[2] .. ": it is its own mean, and nothing of it "
        .. "is left", tostring(found), 1, true)
    end
  end)

  it("lets frozen batch norms be, which keep their statistics", function()
    local net = nn.Sequential {
      nn.GlobalAvgPool(), { fc = nn.Linear(3, 8) }, { norm = nn.BatchNorm(8) }, nn.ReLU(), nn.Linear(8, 4),
    }
    assert.equal("one value, bias", kinds(net, { 1, 16, 16, 3 }))
    net.norm:freeze()
    assert.equal("", kinds(net, { 1, 16, 16, 3 }))
  end)

  it("takes no ReLU before a body for its end", function()
    assert.equal("", kinds(net_of(conv(3, 8, 3), nn.ReLU(), nn.Residual { nn.Dropout(0.1) }), IMAGE))
    local function graph(...) return nn.Graph { conv(8, 8, 3), nn.ReLU(), steps = { ... } } end
    assert.equal("relu", kinds(net_of(conv(3, 8, 3),
      graph({ item = 1, value = 1 }, { item = 2, value = 2 }, { sum = { 3, 1 } })), IMAGE))
    assert.equal("", kinds(net_of(conv(3, 8, 3),
      graph({ item = 2, value = 1 }, { item = 1, value = 2 }, { sum = { 2, 3 } })), IMAGE))
  end)

  it("says why the coverage is not known", function()
    local found = nn.Sequential { function(x) return x:detach():mean { 2, 3 } end, nn.Linear(3, 2) }:check(IMAGE)
    assert.is_nil(found.coverage)
    assert.matches("- not measured: coverage: pixels that no gradient reaches change the output", tostring(found), 1,
      true)
  end)

  it("does not call frozen parameters unreached, nor the layers of a block that begins as the identity", function()
    local net = models.cifar_resnet { depth = 8, zero_init = true }
    net.stage1:freeze()
    assert.equal("", kinds(net, { 2, 32, 32, 3 }))
    assert.equal("", kinds(net:freeze(), { 2, 32, 32, 3 }))
  end)

  it("takes no output for probabilities that is not finite: untrained, the deepest networks overflow", function()
    assert.equal("", kinds(nn.Sequential { net_of(conv(3, 8, 3)), function(x) return x * (0 / 0) end }, IMAGE))
  end)

  it("finds nothing in the residual networks, at the sizes that they are made for", function()
    for _, name in ipairs { "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2" } do
      local found = models[name]():check { 1, 64, 64, 3 }
      assert.equal(0, #found, tostring(found))
      assert.equal(1, found.coverage)
    end
    for name, options in pairs {
      cifar_resnet = { depth = 56, shortcut = "identity_pad" }, cifar_preact = { depth = 110 },
      wide_resnet = { depth = 16, widen = 2, dropout = 0.3 },
    } do
      local found = models[name](options):check { 1, 32, 32, 3 }
      assert.equal(0, #found, tostring(found))
      assert.equal(1, found.coverage)
    end
    for _, block in ipairs { "basic", "bottleneck", "preact", "preact_bottleneck" } do
      for _, shortcut in ipairs { "identity_pad", "projection", "projection_all" } do
        for place, head in ipairs { "gap", "gmp", "mean_max" } do
          local net = models.build {
            stages = { { blocks = 2, width = 4 }, { blocks = 1, width = 8 } }, block = block, shortcut = shortcut,
            head = head, residual = place ~= 1, norm = place == 2 and "none" or "batch", zero_init = place == 3,
            stochastic_depth = 0.3, dropout = 0.1, se = place == 1 and 2 or nil,
          }
          local found = net:check { 2, 16, 16, 3 }
          assert.equal(0, #found, tostring(found))
        end
      end
    end
  end)

  it("finds in the textile networks what the published one has", function()
    local relus = "relu, relu, relu"
    for _, head in ipairs { "gap", "gmp", "mean_max" } do
      assert.equal(relus, kinds(models.textile { width = 4, head = head }, { 2, 64, 64, 1 }))
    end
    assert.equal("coverage, stride, " .. relus, kinds(models.textile { width = 4, head = "conv" }, { 2, 64, 64, 1 }))
  end)

  it("finds that the published network, which pads as TensorFlow does, sees half of the image", function()
    local function block(c_in, c_out, stride)
      return nn.Sequential {
        nn.Conv2d(c_in, c_out, 3, { stride = stride, padding = "same" }), nn.BatchNorm(c_out), nn.ReLU(),
      }
    end
    local net = nn.Sequential {
      block(1, 2, 2), nn.Residual { block(2, 2, 1) }, block(2, 4, 2), nn.Residual { block(4, 4, 1) },
      block(4, 8, 2), nn.Residual { block(8, 8, 1) }, block(8, 16, 9), nn.Flatten(), nn.Linear(16, 6),
    }
    assert.near((45 / 64) ^ 2, net:check({ 2, 64, 64, 1 }).coverage, 1e-12)
    assert.equal("coverage, stride" .. (", bias"):rep(7) .. (", relu"):rep(3), kinds(net, { 2, 64, 64, 1 }))
  end)

  it("finds that images are too small for a network", function()
    local found = kinds(models.resnet18(), { 1, 32, 32, 3 })
    assert.matches("^unreached", found)
    assert.matches("one value$", found)
    assert.not_matches("one value", kinds(models.resnet18(), { 2, 32, 32, 3 }))
  end)

  it("leaves the network and the random numbers as they are", function()
    local net = models.cifar_resnet { depth = 8 }
    net:append(function(x) return x + tr.randn_like(x) end, "noise"):train()
    local calls = 0
    local hook = net:watch(function() calls = calls + 1 end)
    local before, seed, stream = net:clone():state_dict(), tr.rng_state()
    net:check { 2, 32, 32, 3 }
    hook:close()
    assert.equal(0, calls)
    assert.same({ seed, stream }, { tr.rng_state() })
    assert.is_true(net.training)
    for name, t in pairs(net:state_dict()) do assert.same(before[name]:totable(), t:totable(), name) end
    for name, p in net:named_parameters() do
      assert.is_nil(p.grad, name)
      assert.is_true(p.requires_grad, name)
    end
  end)
end)

describe("a graph for Graphviz", function()
  it("has a node for every layer and sum, and an edge for every value", function()
    local net = nn.Sequential {
      name = 'a "b"', nn.Conv2d(1, 4, 3),
      nn.Residual { nn.Conv2d(4, 8, 1), shortcut = nn.Conv2d(4, 8, 1), activation = nn.ReLU() },
      nn.Concat { nn.GlobalAvgPool(), nn.GlobalMaxPool() }, nn.Linear(16, 2),
    }
    local path = support.folder() .. "/net.dot"
    assert.is_true(net:draw(path, { 1, 8, 8, 1 }))
    local text = support.read_file(path)
    for _, line in ipairs {
      'digraph "a \\"b\\"" {', 'v2 [label="1\\nConv2d(1, 4, 3)", color="#1d5fc0"]', "v1 -> v2\n",
      'v2 -> v3 [label="6 x 6 x 4"]', 'v2 -> v4 [label="6 x 6 x 4"]', 'v5 [label="+", shape=circle]',
      'v9 [label="cat", shape=circle]', 'v10 -> output [label="2"]',
    } do
      assert.matches(line, text, 1, true)
    end
    assert.equal(12, select(2, text:gsub(" %-> ", "")))
    assert.is_true(closed(nn.Linear(3, 2)):draw(path))
    assert.matches('v2 [label="Module', support.read_file(path), 1, true)
    assert.is_nil((net:draw "/nowhere/at/all.dot"))
    assert.error_matches(function() net:draw(path:gsub("dot$", "png"), { 1, 8, 8, 1 }) end,
      'net.png", wanted one that ends in %.svg %(a picture%) or %.dot %(a graph for Graphviz%)')
  end)
end)

describe("a picture", function()
  it("shows a Graph step by step, and a gate as the one layer that it is", function()
    local net = nn.Sequential {
      nn.Graph {
        nn.Conv2d(1, 4, 1), nn.ReLU(),
        steps = { { item = 1, value = 1 }, { item = 2, value = 2 }, { sum = { 3, 2 } }, { multiply = { 4, 3, 2 } },
          { subtract = { 5, 2 } }, { cat = { 6, 1 } } },
      },
      nn.Conv2d(5, 8, 1), nn.SqueezeExcitation(8), nn.GlobalAvgPool(),
    }
    local path = support.folder() .. "/net.svg"
    assert.is_true(net:draw(path, { 1, 8, 8, 1 }))
    local text, lines = support.read_file(path), {}
    for line in text:gmatch 'class="label"[^>]*>([^<]*)' do lines[#lines + 1] = line end
    assert.same({
      "2 = Conv2d(1, 4, 1) of 1", "3 = ReLU() of 2", "4 = 3 + 2", "5 = 4 * 3 * 2", "6 = 5 - 2", "7 = 6, 1",
      "Conv2d(5, 8, 1)", "SqueezeExcitation", "GlobalAvgPool()",
    }, lines)
  end)
end)
