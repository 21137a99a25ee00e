--- Sequential{checkpoint=true}: what is computed again in backward. lua/texres/nn/replay.lua, csrc/autograd/tape.c.

local tr = require "texres"
local nn = tr.nn
local F = nn.functional

local function conv(c_in, c_out) return nn.Conv2d(c_in, c_out, 3, { padding = 1, bias = false }) end

--- Blocks that read random numbers and move running statistics.
local function blocks(count, checkpoint)
  local items = { checkpoint = checkpoint }
  for i = 1, count do
    items[i] = nn.Residual {
      conv(4, 4), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.3), conv(4, 4), nn.BatchNorm(4), activation = nn.ReLU(),
    }
  end
  return nn.Sequential(items)
end

--- Some steps of training a network that make(checkpoint) gives: its state and the last loss.
local function trained(make, checkpoint)
  tr.manual_seed(5)
  local net = make(checkpoint)
  local optimizer = tr.optim.SGD(net, { lr = 0.1, momentum = 0.9 })
  local loss
  for _ = 1, 4 do
    local x, labels = tr.randn(6, 8, 8, 2), tr.randint(1, 3, { 6 })
    optimizer:zero_grad()
    loss = F.cross_entropy(net(x), labels)
    loss:backward()
    optimizer:step()
  end
  return net:state_dict(), loss:item(), tr.rand(1):item()
end

local function check_same(make, checkpoint)
  local want, want_loss, want_random = trained(make)
  local got, loss, random = trained(make, checkpoint)
  for name, t in pairs(want) do
    assert(t:eq(got[name]):sum():item() == t:numel(), name .. " differs with checkpoint = " .. tostring(checkpoint))
  end
  assert.equal(want_loss, loss)
  assert.equal(want_random, random)
end

local function message_of(fn, ...) return select(2, pcall(fn, ...)) end

describe("checkpoint", function()
  it("changes no bits where it begins or ends between a convolution and its norm", function()
    local function of(...) return nn.Sequential { ... } end
    for name, make in pairs {
      ["within"] = function(checkpoint)
        return nn.Sequential { conv(2, 4), nn.BatchNorm(4), nn.ReLU(), conv(4, 3), nn.Identity(), nn.BatchNorm(3),
          nn.ReLU(), checkpoint = checkpoint }
      end,
      ["before and behind"] = function(checkpoint)
        return of(conv(2, 4), nn.Sequential { nn.BatchNorm(4), nn.ReLU(), conv(4, 3), checkpoint = checkpoint },
          nn.BatchNorm(3))
      end,
      ["in each other"] = function(checkpoint)
        local function inside(...)
          local items = { ... }
          items.checkpoint = checkpoint
          return nn.Sequential(items)
        end
        return inside(inside(inside(conv(2, 3))), inside(inside(nn.BatchNorm(3)), nn.ReLU()))
      end,
      ["in a body"] = function(checkpoint)
        return of(conv(2, 3), nn.Residual { nn.Sequential { conv(3, 3), nn.BatchNorm(3), checkpoint = checkpoint },
          shortcut = nn.Sequential { conv(3, 3), nn.BatchNorm(3), checkpoint = checkpoint }, activation = nn.ReLU() })
      end,
      ["preact"] = function(checkpoint)
        return tr.models.build { block = "preact", in_channels = 2, classes = 3, residual = false,
          stages = { { blocks = 3, width = 4 }, { blocks = 2, width = 4 } }, checkpoint = checkpoint or false }
      end,
    } do
      local function whole(checkpoint)
        return name == "preact" and make(checkpoint) or of(make(checkpoint), nn.GlobalAvgPool())
      end
      for _, checkpoint in ipairs(name == "preact" and { true } or { true, 1, 2, 3 }) do
        check_same(whole, checkpoint)
        tr.manual_seed(1)
        local plain, x = whole(), tr.randn(3, 9, 7, 2)
        local twin = whole(checkpoint):load_state_dict(plain:state_dict())
        local want, got = tr.no_grad(plain:eval(), x), tr.no_grad(twin:eval(), x)
        assert(want:eq(got):sum():item() == want:numel(), name .. " differs in evaluation")
      end
    end
  end)

  it("trains to the same bits, running statistics and dropout included", function()
    local function make(checkpoint)
      return nn.Sequential {
        conv(2, 4), nn.BatchNorm(4), nn.ReLU(), blocks(5, checkpoint), nn.GlobalAvgPool(), nn.Linear(4, 3),
      }
    end
    for _, checkpoint in ipairs { true, 1, 2, 3, 100 } do check_same(make, checkpoint) end
  end)

  it("does so from the first layer to the last, and inside itself", function()
    check_same(function(checkpoint)
      return nn.Sequential {
        conv(2, 4), blocks(4, checkpoint), blocks(2), nn.GlobalAvgPool(), nn.Linear(4, 3),
        checkpoint = checkpoint and 2,
      }
    end, true)
  end)

  it("sums in the same order where others read the input, too", function()
    check_same(function(checkpoint)
      local inner = blocks(2, checkpoint) -- of which the first block reads the input twice
      return nn.Sequential {
        conv(2, 4), nn.Residual { inner, shortcut = nn.Concat { nn.Identity() } }, nn.Residual { inner },
        nn.Concat { blocks(1, checkpoint), nn.ReLU() }, nn.GlobalAvgPool(), nn.Linear(8, 3),
      }
    end, true)
  end)

  it("trains models of a table to the same bits", function()
    for _, block in ipairs { "basic", "preact_bottleneck" } do
      check_same(function(checkpoint)
        return tr.models.build {
          stages = { { blocks = 3, width = 4 }, { blocks = 2, width = 8 } }, block = block, in_channels = 2,
          classes = 3, dropout = 0.2, stochastic_depth = 0.5, se = 2, shortcut = "identity_pad",
          checkpoint = checkpoint,
        }
      end, true)
    end
  end)

  it("gives gradients to an input, and keeps layers frozen that are", function()
    local function gradients(checkpoint)
      tr.manual_seed(2)
      local net = blocks(4, checkpoint)
      net[2]:freeze()
      local x = tr.randn(2, 6, 6, 4)
      x.requires_grad = true
      net(x):sum():backward()
      assert.is_nil(net[2][1].weight.grad)
      return x.grad, net[1][1].weight.grad, net[2][2].running_mean
    end
    local want, got = { gradients(false) }, { gradients(true) }
    for i, t in ipairs(want) do assert.equal(t:numel(), t:eq(got[i]):sum():item()) end
    local net = blocks(3, true)
    net:freeze()
    assert.is_false(net(tr.randn(2, 6, 6, 4)).requires_grad)
  end)

  it("gives the same bits where layers are frozen", function()
    local function loss(checkpoint)
      tr.manual_seed(2)
      local net = blocks(4, checkpoint)
      net:freeze()
      net[2]:unfreeze()
      return net(tr.randn(2, 6, 6, 4)):exp():sum():item()
    end
    assert.equal(loss(false), loss(true))
    assert.equal(loss(false), loss(1))
  end)

  it("computes again in the mode of then", function()
    local net = blocks(2, true)
    local y = net(tr.randn(2, 6, 6, 4))
    local mean = net[1][2].running_mean:clone()
    net:eval()
    y:sum():backward()
    assert.is_false(net[1][2].training)
    assert.equal(4, mean:eq(net[1][2].running_mean):sum():item())
  end)

  it("takes less memory", function()
    local function peak(checkpoint)
      tr.manual_seed(1)
      local net = tr.models.cifar_resnet { depth = 110, checkpoint = checkpoint }
      local x = tr.randn(8, 16, 16, 3)
      collectgarbage()
      tr.trim_memory()
      local before = tr.live_bytes()
      net(x):sum():backward()
      local _, most = tr.live_bytes()
      return most - before - 4 * net:num_parameters() -- gradients
    end
    local whole, roots = peak(false), peak(true)
    assert(roots < 0.4 * whole, ("%d bytes, without checkpoint %d"):format(roots, whole))
  end)

  it("is a step of the plan, and may be set at any time", function()
    local net = nn.Sequential { conv(4, 4), blocks(3, true) }
    local text = tostring(net:plan())
    assert.matches("2%.1%.1 ... 2%.2%.activation  checkpoint", text)
    assert.matches("2%.3%.1 ... 2%.3%.activation  checkpoint", text)
    net[2].checkpoint = false
    assert.not_matches("checkpoint", tostring(net:plan()))
    net[2].checkpoint = 3
    assert.matches("checkpoint", tostring(net:plan()))
  end)

  it("is kept in a description, and is nothing to fuse() and ONNX", function()
    local net = blocks(3, 2)
    assert.equal(2, nn.from_config(net:config()).checkpoint)
    assert.is_false(nn.from_config(blocks(3):config()).checkpoint)
    local x = tr.randn(2, 6, 6, 4)
    local y = net:eval()(x)
    assert.equal(y:numel(), y:eq(blocks(3):load_state_dict(net:state_dict()):eval()(x)):sum():item())
    net:fuse()
    assert.equal("Identity()", net[1][2]:describe())
    assert.is_true(net(x):allclose(y, 1e-4, 1e-5))
  end)

  it("shows a watcher each layer once, with its graph", function()
    for _, level in ipairs { "net", "layer" } do
      local net, seen = blocks(3, true), 0
      local watched = level == "net" and net or net[2]
      local hook = watched:watch(function(_, _, _, outputs)
        seen = seen + 1
        assert.is_true(outputs[1].requires_grad)
      end, { layers = { level == "net" and "2.1" or "1" } })
      net(tr.randn(2, 6, 6, 4)):sum():backward()
      hook:close()
      assert.equal(1, seen)
    end
    local map = blocks(3, true):features(tr.randn(2, 6, 6, 4), "2")
    map:sum():backward()
  end)

  it("trains to the same bits where a trainer looks at the layers, once at each", function()
    local set = tr.data.fabric { count = 24, size = 8, seed = 1 }
    local function run(checkpoint)
      tr.manual_seed(1)
      local trainer = tr.Trainer {
        model = tr.models.build {
          stages = { { blocks = 3, width = 4 } }, in_channels = 1, classes = 6, checkpoint = checkpoint,
        },
        epochs = 2, batch = 8, quiet = true, watch = { every = 2 },
      }
      trainer:fit(set, set)
      return trainer
    end
    local whole, again = run(false), run(true)
    assert.same(whole.watched, again.watched)
    for name, t in pairs(whole.model:state_dict()) do
      assert.equal(t:numel(), t:eq(again.model:state_dict()[name]):sum():item())
    end
  end)

  it("refuses what can't be computed again", function()
    local net = blocks(2, true)
    local y = net(tr.randn(2, 6, 6, 4))
    tr.no_grad(function() net[1][1].weight:fill(2) end)
    assert.matches("checkpoint: a parameter {3,3,4,4} was changed in place", message_of(y.backward, y:sum()))
    local x = tr.randn(2, 6, 6, 4)
    y = net(x)
    x:fill(0)
    assert.matches("checkpoint: a tensor {2,6,6,4} saved for backward was changed in place",
      message_of(y.backward, y:sum()))
    y = net(tr.randn(2, 6, 6, 4)):sum()
    y:backward()
    assert.matches("was already used by a backward", message_of(y.backward, y))
  end)

  it("refuses a layer that calls backward itself", function()
    local net = nn.Sequential { nn.Linear(2, 2), function(x) x:sum():backward() return x end, checkpoint = true }
    assert.matches("backward: not inside of a layer that backward computes again", message_of(net, tr.randn(3, 2)))
  end)

  it("tells what goes wrong while it computes again", function()
    local calls, net
    local function fickle(answer)
      calls = 0
      return nn.Sequential {
        nn.Linear(2, 2),
        function(x)
          calls = calls + 1
          return calls > 1 and answer(x) or x
        end,
        checkpoint = true,
      }
    end
    local x = tr.randn(3, 2)
    net = fickle(function(t) return t:slice(1, 1, 2) end)
    assert.matches("checkpoint: computed again in backward, the result is f32 {2,2}; before, it was f32 {3,2}",
      message_of(function() net(x):sum():backward() end))
    net = fickle(function() return 7 end)
    assert.matches("the result is", message_of(function() net(x):sum():backward() end))
    local object = {}
    net = fickle(function() error(object) end)
    assert.equal(object, message_of(function() net(x):sum():backward() end))
    assert.is_true(tr.grad_enabled())
  end)

  it("is true, false or a number of items", function()
    for _, value in ipairs { 0, -1, 1.5, "yes" } do
      assert.matches("checkpoint is .-, wanted true, false or a number of items",
        message_of(nn.Sequential, { nn.ReLU(), checkpoint = value }))
    end
    local net = nn.Sequential { nn.ReLU() }
    net.checkpoint = 0
    assert.matches("checkpoint is 0", message_of(net, tr.randn(2)))
  end)
end)
