--- Looking at a network before it is trained: what it costs and what it sees of its input.
local tr = require "texres"
local reach = require "texres.nn.reach"
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

  it("is in the summary", function()
    assert.matches("input {1,64,64,1}, of which 22.0 %% can influence", models.textile { head = "conv" }
      :summary { 1, 64, 64, 1 })
    assert.matches("of which 100.0 %% can influence", models.textile { width = 4 }:summary { 1, 64, 64, 1 })
  end)

  it("is not told where a layer of one's own may look elsewhere than its gradient says", function()
    local net = nn.Sequential { function(x) return x:max { 2, 3 } end, nn.Linear(1, 2) }
    assert.is_nil(assert(reach.measure(net, { 1, 8, 8, 1 })).share)
    assert.not_matches("influence", net:summary { 1, 8, 8, 1 })
  end)

  it("says why it could not be measured", function()
    local tied = nn.Sequential { nn.GlobalAvgPool(), nn.Linear(4, 3) }
    local net = nn.Module { body = tied, forward = function(self, x)
      return F.linear(F.global_avg_pool(x), self.body[2].weight)
    end }
    local whole, problem = reach.measure(net, { 1, 8, 8, 4 })
    assert.is_nil(whole)
    assert.is_string(problem)
    assert.is_string(net:summary { 1, 8, 8, 4 })
  end)
end)
