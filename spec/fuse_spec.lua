--- module:fuse() and what containers do together: the same answers as when every module is called by itself.
local tr = require "texres"
local module = require "texres.nn.module"
local checkpoint = require "texres.checkpoint"
local support = require "spec.support"
local nn = tr.nn

-- A batch norm whose every part matters.
local function norm(channels)
  local made = nn.BatchNorm(channels)
  nn.init.uniform(made.gamma, 0.5, 1.5)
  nn.init.normal(made.beta)
  nn.init.uniform(made.running_var, 0.5, 1.5)
  nn.init.normal(made.running_mean)
  return made
end

local function count_norms(net)
  local count = 0
  for _, m in ipairs(net:modules()) do count = count + (getmetatable(m) == nn.BatchNorm and 1 or 0) end
  return count
end

-- What net gives for x in evaluation, each module called by itself.
local function plain(net, x)
  net:eval()
  return module.watch(function() end, function() return tr.no_grad(net, x) end)
end

-- Runs net as containers do, fused, fused in place, saved and loaded; all must give the same. Returns the fused copy.
local function agree(net, x)
  local want = plain(net, x)
  local atol = 1e-4 * (1 + want:abs():max():item())
  local function check(got, what) assert.is_true(tr.allclose(got, want, 1e-4, atol), what) end
  check(tr.no_grad(net, x), "as it runs")
  local fused = net:clone():fuse()
  check(tr.no_grad(fused, x), "fused")
  local path = support.folder() .. "/net.safetensors"
  assert(tr.save(path, { model = net }))
  check(tr.no_grad(assert(checkpoint.load(path)).model, x), "loaded")
  check(tr.no_grad(assert(tr.load(path)).model, x), "in a classifier")
  return fused
end

-- Calls its body, and the first layer of that again.
local Again = nn.register("SpecAgain", nn.Module "SpecAgain")
function Again:init(channels) self.body = nn.Sequential { nn.Conv2d(channels, channels, 1), norm(channels) } end
function Again:forward(x) return self.body(x) + self.body[1](x) end

-- Runs its items from the last to the first.
local Backwards = nn.register("SpecBackwards", nn.Module("SpecBackwards", nn.Sequential))
function Backwards:forward(x)
  for i = #self, 1, -1 do x = self[i](x) end
  return x
end

-- A Sequential by another name.
local Chain = nn.register("SpecChain", nn.Module("SpecChain", nn.Sequential))

describe("fuse", function()
  local x
  before_each(function()
    tr.manual_seed(11)
    x = tr.randn(2, 5, 6, 3)
  end)
  local function conv(options) return nn.Conv2d(3, 3, 1, options) end

  it("folds neighbours that run one after the other", function()
    for _, net in ipairs {
      nn.Sequential { conv(), norm(3), nn.ReLU() }, nn.Sequential { nn.Linear(3, 3, { bias = false }), norm(3) },
      nn.Residual { conv { bias = false }, norm(3), shortcut = nn.Sequential { conv(), norm(3) } },
      nn.Concat { nn.Sequential { conv(), norm(3) }, conv() }, Chain { conv(), norm(3) },
    } do
      assert.equal(0, count_norms(agree(net, x)))
    end
  end)

  it("leaves neighbours that are parallel", function()
    assert.equal(1, count_norms(agree(nn.Concat { conv(), norm(3) }, x)))
    assert.equal(1, count_norms(agree(nn.Residual { nn.ReLU(), shortcut = conv(), activation = norm(3) }, x)))
    assert.equal(1, count_norms(agree(Backwards { conv(), norm(3) }, x)))
  end)

  it("leaves what a forward of its own may call once more", function()
    assert.equal(1, count_norms(agree(Again(3), x)))
    assert.equal(1, count_norms(agree(nn.Sequential { nn.ReLU(), Again(3) }, x)))
    local net = nn.Sequential { conv(), norm(3) }
    rawset(net, "forward", function(self, t) return self[2](self[1](t)) + self[1](t) end)
    net:eval()
    local want = plain(net, x)
    assert.is_true(tr.allclose(tr.no_grad(net:clone():fuse(), x), want, 1e-5, 1e-5))
    local again = Again(3):eval()
    again.body:fuse() -- but on request
    assert.equal(0, count_norms(again))
  end)

  it("leaves layers that stand elsewhere, too", function()
    local shared, last = conv(), norm(3)
    agree(nn.Sequential { shared, norm(3), shared, norm(3) }, x)
    agree(nn.Sequential { conv(), last, conv(), last }, x)
    agree(nn.Residual { shared, norm(3), shortcut = shared }, x)
    agree(nn.Concat { nn.Sequential { shared, norm(3) }, shared }, x)
    local block = nn.Sequential { conv(), norm(3) }
    agree(nn.Sequential { block, nn.ReLU(), block }, x)
    local holder = nn.Module { other = shared, forward = function(self, t) return self.other(t) end }
    local net = nn.Sequential { nn.Sequential { shared, norm(3) }, holder }
    local want = plain(net, x)
    assert.is_true(tr.allclose(tr.no_grad(net:fuse(), x), want, 1e-5, 1e-5))
  end)

  it("does not change a layer that a function holds", function()
    local layer = conv()
    local net = nn.Sequential { layer, norm(3), function(t) return t + layer(x) end }
    local want, before = plain(net, x), layer(x)
    assert.is_true(tr.allclose(tr.no_grad(net:fuse(), x), want, 1e-5, 1e-5))
    assert.equal(0, count_norms(net))
    assert.is_true(tr.allclose(layer(x), before, 0, 0))
  end)

  it("leaves a batch norm that was taken apart, or is of another size or dtype", function()
    for _, change in ipairs {
      function(net) net[2].running_mean = nil end, function(net) net[2] = norm(1) end,
      function(net) net[2]:to "f64" end,
    } do
      local net = nn.Sequential { conv(), norm(3) }
      change(net)
      assert.equal(1, count_norms(net:fuse()))
    end
  end)

  it("keeps frozen weights frozen", function()
    local net = nn.Sequential { conv(), norm(3) }
    for _, p in ipairs(net:parameters()) do p.requires_grad = false end
    for _, p in ipairs(net:fuse():parameters()) do assert.is_false(p.requires_grad) end
  end)

  it("and containers follow a forward that was put into a class", function()
    local before = nn.ReLU.forward
    finally(function() nn.ReLU.forward = before end)
    local net = nn.Sequential { conv(), norm(3), nn.ReLU() }
    function nn.ReLU.forward(_, t) return t * 3 end
    agree(net, x)
  end)

  -- A random item for `c` channels, and its number of channels. `pool` has layers that may be used again.
  local function random_item(c, depth, pool)
    local function share(kind, made)
      local list = pool[kind .. c] or {}
      pool[kind .. c] = list
      if #list > 0 and math.random(4) == 1 then return list[math.random(#list)] end
      list[#list + 1] = made
      return made
    end
    local function items()
      local list, to = {}, c
      for i = 1, math.random(4) do list[i], to = random_item(to, depth - 1, pool) end
      return list, to
    end
    local kind = math.random(depth > 0 and 11 or 6)
    if kind <= 2 then return share("conv", nn.Conv2d(c, c, 3, { padding = "same", bias = kind == 1 })), c end
    if kind <= 4 then return share("norm", norm(c)), c end
    if kind == 5 then return nn.ReLU(), c end
    if kind == 6 then return nn.Linear(c, c + 1), c + 1 end
    if kind == 7 then return Again(c), c end
    if kind == 8 then return Backwards { nn.Conv2d(c, c, 1), norm(c) }, c end
    local list, to = items()
    if kind == 9 then return nn.Sequential(list), to end
    if kind == 10 then
      local inner, width = random_item(c, depth - 1, pool)
      return nn.Concat { inner, nn.Sequential(list) }, width + to
    end
    list.shortcut = to ~= c and nn.Sequential { nn.Conv2d(c, to, 1, { bias = false }), norm(to) } or nil
    list.activation = math.random(2) == 1 and nn.ReLU() or norm(to)
    return nn.Residual(list), to
  end

  it("agrees with the network as it was, for random networks", function()
    math.randomseed(3)
    for _ = 1, 40 do
      local list, c, pool = {}, 3, {}
      for i = 1, 4 do list[i], c = random_item(c, 3, pool) end
      agree(nn.Sequential(list), x)
    end
  end)
end)
