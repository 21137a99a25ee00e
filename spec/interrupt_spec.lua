-- Ctrl-C: only SIGINT interrupts, once; what is cut short raises, and nothing of it shows in later calls.

local support = require "spec.support"
local tr = require "texres"

-- What every child script begins with: after(seconds, name, f) calls f again and again until Ctrl-C, which comes after
-- `seconds`, ends it, and looks whether that was all of it.
local CHILD = [[
local tr = require "texres"
local pid = io.open("/proc/self/stat"):read "n"
local function is_sound()
  assert(tr.ones(2000, 1000):sum():item() == 2e6)
  local x = tr.rand(300, 300)
  assert(tr.allclose(x:matmul(tr.eye(300)), x))
  local start = tr.clock()
  while tr.clock() - start < 0.02 do end -- a second error would come here
end
local function after(seconds, name, f)
  io.popen(("(sleep %g; kill -INT %d) >/dev/null 2>&1 &"):format(seconds, pid)):close()
  local start = tr.clock()
  local ok, message = pcall(function() while tr.clock() - start < 20 do f() end end)
  assert(not ok, name .. ": nothing was raised")
  assert(message:find "interrupted!$", name .. ": " .. tostring(message))
  is_sound()
end
]]

local function child(script)
  local ok, out = support.run_lua(CHILD .. script .. ' io.write "all is well"')
  assert.is_true(ok, out)
  assert.matches("all is well$", out)
end

describe("a debug hook", function()
  after_each(function() debug.sethook() end)

  it("is no interrupt, whatever it counts and whenever it was set", function()
    tr.ones(300, 300):matmul(tr.ones(300, 300))
    for _, mask in ipairs { "", "c", "r", "l", "crl" } do
      local count = 0
      debug.sethook(function() count = count + 1 end, mask, 1000)
      assert.equal(4e6, tr.ones(2000, 2000):sum():item())
      local t = tr.zeros(2000, 1000)
      assert.equal(6e6, t:fill(3):sum():item())
      assert.is_true(tr.allclose(t, tr.full({ 2000, 1000 }, 3)))
      debug.sethook()
      assert.equal(2e6, tr.ones(2000, 1000):sum():item())
    end
  end)

  it("may be set inside a backward in Lua", function()
    local double = tr.Function {
      forward = function(_, x) return x * 2 end,
      backward = function(_, dy)
        debug.sethook(function() end, "", 1000)
        return dy * 2
      end,
    }
    local x = tr.ones(1000, 1000, { requires_grad = true })
    double(x * 3):sum():backward()
    assert.equal(6e6, x.grad:sum():item())
  end)
end)

describe("Ctrl-C", function()
  -- A child for each, as the interpreter's handler answers one Ctrl-C only: the next one ends the process.
  for name, call in pairs {
    matmul = "m:matmul(m)", normal = "x:normal()", ones = "tr.ones(8000, 2000)", randn = "tr.randn(8000, 1000)",
    sort = "x:sort()", allclose = "tr.allclose(x, x)", copy = "x:copy_from(x)",
  } do
    it("ends " .. name .. " once, and what comes after is right", function()
      child(([[
        local m, x = tr.rand(1200, 1200), tr.rand(5000000)
        after(0.15, "%s", function() return %s end) ]]):format(name, call))
    end)
  end

  it("ends an audit while it compares images, which takes minutes where all look alike", function()
    child [[
      local n = 30000
      local images = (tr.rand(1, 8, 8, 1):expand(n, 8, 8, 1) + tr.rand(n, 8, 8, 1) * 0.05) / 1.05
      local set = tr.data.tensors { images = images, labels = tr.ones(n, { dtype = "i64" }), classes = { "good" } }
      local start = tr.clock()
      after(1.5, "audit", function() set:audit() end)
      assert(tr.clock() - start < 15, "it took too long") ]]
  end)

  it("ends training that is written by hand, and leaves sound running statistics", function()
    for round = 1, 4 do
      child(([[
        local nn = tr.nn
        local net = nn.Sequential {
          nn.Conv2d(1, 16, 3), nn.BatchNorm(16), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(16, 3),
        }
        local optimizer = tr.optim.SGD(net:parameters(), { lr = 0.01 })
        local x, y = tr.rand(16, 64, 64, 1), tr.ones(16, { dtype = "i64" })
        after(0.1 + 0.017 * %d, "training", function()
          optimizer:zero_grad()
          tr.nn.functional.cross_entropy(net(x), y):backward()
          optimizer:step()
        end)
        for name, t in pairs(net:state_dict()) do assert(t:all_finite(), name) end ]]):format(round))
    end
  end)

  it("ends a Trainer's run in order, also after another run inside of it", function()
    child [[
      local nn, told = tr.nn, {}
      local function trainer(epochs)
        return tr.Trainer { model = nn.Sequential { nn.Flatten(), nn.Linear(64, 6) }, epochs = epochs, quiet = true }
      end
      local set = tr.data.fabric { count = 64, size = 8, seed = 1 }
      local outer = trainer(100000)
      for event in outer:run(set) do
        if event.step == 2 then
          trainer(1):fit(set)
          io.popen(("(sleep 0.2; kill -INT %d) >/dev/null 2>&1 &"):format(pid)):close()
        end
        told[event.kind] = event.reason
      end
      assert(outer.interrupted and told["end"] == "interrupted")
      assert(outer.steps > 2)
    ]]
  end)

  it("moves running statistics by a whole batch or not at all", function()
    for round = 1, 6 do
      child(([[
        local norm = tr.nn.BatchNorm(16)
        local batch = { [0] = tr.full({ 32, 128, 128, 16 }, 5), tr.full({ 32, 128, 128, 16 }, -1000) }
        local n, mean = 0, 0
        local function after_batch() return 0.9 * mean + 0.1 * (n %% 2 == 0 and 5 or -1000) end
        after(0.2 + 0.037 * %d, "batch norm", function()
          norm(batch[n %% 2])
          mean, n = after_batch(), n + 1
        end)
        local low, high = norm.running_mean:min():item(), norm.running_mean:max():item()
        assert(low == high and (math.abs(low - mean) < 0.05 or math.abs(low - after_batch()) < 0.05), low)
      ]]):format(round))
    end
  end)

  it("gives no leaf a gradient that was cut short", function()
    for round = 1, 4 do
      child(([[
        local p = tr.ones(4000, 1000, { requires_grad = true })
        after(0.15 + 0.023 * %d, "backward", function()
          p.grad = nil
          ((p * 6):exp() * 0 + p * 2):sum():backward()
        end)
        assert(not p.grad or p.grad:min():item() == 2 and p.grad:max():item() == 2) ]]):format(round))
    end
  end)

  it("leaves an optimizer's step whole: all groups, with their counts", function()
    for round, kind in ipairs { "Adam", "SGD", "Adam", "SGD" } do
      child(([[
        local p, q = tr.zeros(3000), tr.zeros(300000)
        p.requires_grad, q.requires_grad = true, true
        p.grad, q.grad = tr.ones(3000), tr.ones(300000)
        local optimizer = tr.optim.%s({ { params = { p } }, { params = { q } } }, { lr = 0.001 })
        after(0.1 + 0.013 * %d, "optimizer", function() optimizer:step() end)
        assert(p:min():item() == q:min():item() and p:max():item() == q:max():item())
        assert(optimizer.state[1].step == optimizer.state[2].step) ]]):format(kind, round))
    end
  end)

  it("reaches a coroutine, raises once, and keeps the hook that was set before", function()
    child [[
      local m = tr.rand(1200, 1200)
      local function hook() end
      debug.sethook(hook, "", 100000)
      after(0.15, "coroutine", coroutine.wrap(function()
        while true do
          m:matmul(m)
          coroutine.yield()
        end
      end))
      assert(debug.gethook() == hook or debug.gethook() == nil) ]]
  end)

  it("is seen within a call of few long blocks, from its beginning on", function()
    child [[
      local x, w = tr.rand(40, 32, 32, 16, { dtype = "f64" }), tr.rand(3, 3, 16, 300, { dtype = "f64" })
      local function convolve() return tr.nn.functional.conv2d(x, w) end -- 40 blocks
      local start = tr.clock()
      convolve()
      local whole = tr.clock() - start
      start = tr.clock()
      after(whole / 40, "conv2d", convolve)
      assert(tr.clock() - start < whole / 2 + 0.2, "it was computed to its end")
    ]]
  end)

  it("is seen within a sort of one long line", function()
    child [[
      local s = tr.rand(16000000)
      local start = tr.clock()
      after(0.3, "sort", function() return s:sort() end)
      assert(tr.clock() - start < 10) ]]
  end)
end)
