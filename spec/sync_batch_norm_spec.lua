--- Batch norm by statistics of more than its own input, without the processes that exchange them: distributed_spec.lua
-- starts those.
local core = require "texres.core"
local norm = require "texres.nn.norm"
local tr = require "texres"

local F, nn = tr.nn.functional, tr.nn

describe("batch norm by statistics from elsewhere", function()
  local function random(...) return tr.randn({ ... }, { dtype = "f64" }) end

  --- Mean and variance of the channels of x with a gradient.
  local function statistics_of(x)
    local rows = x:reshape(-1, x:size(-1))
    return rows:mean(1), rows:var(1, { correction = 0 })
  end

  --- Losses and gradients of net(x) and what it depends on.
  local function gradients(net, inputs, run)
    for _, t in ipairs(inputs) do t.grad = nil end
    net:zero_grad()
    local y = run();
    (y * (tr.arange(1, y:numel()):to("f64"):reshape(y:shape()) % 7 - 3)):sum():backward()
    local list = { y:detach() }
    for _, t in ipairs(inputs) do list[#list + 1] = t.grad end
    for _, p in ipairs(net:parameters()) do list[#list + 1] = p.grad end
    return list
  end

  --- That both lists hold the same numbers.
  local function assert_close(wanted, found)
    assert.equal(#wanted, #found)
    for i, t in ipairs(wanted) do
      assert.same(t:shape(), found[i]:shape())
      assert.is_true((t - found[i]):abs():max():item() < 1e-12, ("%d: %s"):format(i, (t - found[i]):abs():max():item()))
    end
  end

  local NETS = {
    ["by itself"] = { nn.BatchNorm(3) },
    ["after a convolution"] = { nn.Conv2d(3, 3, 3, { padding = 1, bias = false }), nn.BatchNorm(3), nn.ReLU() },
    ["before a sum"] = {
      nn.Residual { nn.Conv2d(3, 3, 3, { padding = 1, bias = false }), nn.BatchNorm(3), activation = nn.ReLU() },
    },
    ["before a sum after its ReLU"] = { nn.Residual { nn.BatchNorm(3), nn.ReLU() } },
  }
  for name, layers in pairs(NETS) do
    it("gives what it would give by its own, and the same gradients: " .. name, function()
      local net = nn.Sequential(layers):to "f64"
      for _, p in ipairs(net:parameters()) do core.no_grad(p.copy_from, p, random(table.unpack(p:shape()))) end
      local x = random(4, 3, 3, 3)
      x.requires_grad = true
      local wanted = gradients(net, { x }, function() return net(x) end)
      local asked = {}
      local found = gradients(net, { x }, function()
        return norm.with_statistics(function(layer, input)
          asked[#asked + 1] = layer
          return statistics_of(input)
        end, net, x)
      end)
      assert_close(wanted, found)
      assert.equal(1, #asked)
      assert.equal("BatchNorm", getmetatable(asked[1]).__name)
    end)
  end

  it("asks in training alone, and while it is to", function()
    local layer, asked = nn.BatchNorm(2), 0
    local function source(_, x)
      asked = asked + 1
      return statistics_of(x)
    end
    norm.with_statistics(source, function()
      layer:eval()
      layer(tr.ones(4, 2))
      assert.equal(0, asked)
      layer:train()
      layer(tr.ones(4, 2))
      assert.equal(1, asked)
    end)
    assert.has_error(function() norm.with_statistics(source, error, "no") end)
    layer(tr.ones(4, 2))
    assert.equal(1, asked)
    assert.same(tr.tensor({ 0.1, 0.1 }):totable(), layer.running_mean:totable()) -- that of the last call alone
  end)

  it("has gradients of the mean and the variance, in f64 by differences", function()
    local layer = nn.BatchNorm(2, { eps = 0.1 }):to "f64"
    core.no_grad(layer.gamma.copy_from, layer.gamma, random(2))
    local x, mean, var = random(3, 2), random(2), random(2):abs() + 0.5
    local weights = random(3, 2)
    local function loss() return (norm.with_statistics(function() return mean, var end, layer, x) * weights):sum() end
    for _, t in ipairs { mean, var } do
      t.requires_grad = true
      loss():backward()
      local gradient = t.grad:totable()
      for i = 1, 2 do
        local values = {}
        for _, step in ipairs { 1e-5, -1e-5 } do
          core.no_grad(function()
            local before = t[i]:item()
            t[i] = before + step
            values[#values + 1] = loss():item()
            t[i] = before
          end)
        end
        assert.is_true(math.abs(gradient[i] - (values[1] - values[2]) / 2e-5) < 1e-8)
      end
      t.requires_grad = false
    end
  end)
end)

describe("a parameter that another one stands in for", function()
  it("keeps its gradient for itself, and the other one gets that of calls that are recorded meanwhile", function()
    local p = tr.tensor({ 2, 3 }, { requires_grad = true })
    local twin = p:detach()
    twin.requires_grad = true
    local before = (p * 5):sum()
    core.stand_in({ p }, { twin })
    local during = (p * p):sum() + F.linear(p:reshape(1, 2), tr.ones(2, 1)):sum()
    core.stand_in { p }
    local after = (p * 7):sum();
    (before + during + after):backward()
    assert.same({ 12, 12 }, p.grad:totable())
    assert.same({ 5, 7 }, twin.grad:totable()) -- 2 p + 1
  end)

  it("is refused where there is none", function()
    local p = tr.ones(2)
    assert.has_error(function() core.stand_in({ p }, {}) end)
    assert.has_error(function() core.stand_in({ 5 }, { p }) end)
  end)
end)

describe("a Trainer with sync_batch_norm", function()
  it("refuses layers that backward computes again, and does nothing in a single process", function()
    local set = tr.data.fabric { count = 40, size = 8, seed = 1 }
    local function trained(changed)
      tr.manual_seed(1)
      local options = { epochs = 1, batch = 20, quiet = true, watch = false, model = nn.Sequential {
        nn.Conv2d(1, 2, 3, { bias = false }), nn.BatchNorm(2), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(2, 6),
        checkpoint = changed.checkpoint } }
      options.sync_batch_norm = changed.sync
      local trainer = tr.Trainer(options)
      trainer:fit(set)
      return options.model[5].weight:totable()
    end
    assert.same(trained {}, trained { sync = true })
    local ok, message = pcall(trained, { sync = true, checkpoint = 2 })
    assert.is_false(ok)
    assert.matches("Trainer: sync_batch_norm: the model has checkpoint = 2: what backward computes again", message)
  end)
end)
