--- What the host of Lua may do: several states, forks, threads, hooks, Ctrl-C at any moment; and what it may count on.
local support = require "spec.support"

local compiled
--- The program of spec/fixtures/host.c; or nil and why there is none.
local function host()
  if os.getenv "ASAN_OPTIONS" then return nil, "the host program is not the sanitized build" end
  if compiled then return compiled end
  local path = support.folder() .. "/host"
  local ok, output = support.run { "sh", "-c", "cc -o " .. path .. " spec/fixtures/host.c -pthread "
    .. "$(pkg-config --cflags --libs lua5.4 2>/dev/null || pkg-config --cflags --libs lua-5.4)" }
  if not ok then return nil, "no host program can be built here: " .. output end
  compiled = path
  return path
end

local function run_host(mode, work)
  local path, problem = host()
  if not path then return pending(problem) end
  local ok, output = support.run { path, mode, work }
  assert.is_true(ok, output)
  return output
end

-- Tensors, a graph, a training step, batches from threads; checks what it computes.
local WORK = [[
  local tr = require "texres"
  assert(tr.ones(2000, 1000):sum():item() == 2000000)
  local net = tr.nn.Sequential { tr.nn.Conv2d(1, 8, 3, { padding = 1 }), tr.nn.BatchNorm(8), tr.nn.ReLU(),
    tr.nn.GlobalAvgPool(), tr.nn.Linear(8, 2) }
  local optimizer = tr.optim.SGD(net, { lr = 0.01 })
  local labels = {}
  for i = 1, 64 do labels[i] = i % 2 + 1 end
  local set = tr.data.tensors { images = tr.rand(64, 32, 32), labels = labels, classes = { "a", "b" } }
  local count = 0
  for images, wanted in set:loader({ batch = 16, workers = 2 }):batches(1) do
    local loss = tr.nn.functional.cross_entropy(net(images), wanted)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
    count = count + images:size(1)
  end
  assert(count == 64)
  local a = tr.rand(256, 256)
  assert(tr.allclose(a:matmul(a), a:to("f64"):matmul(a:to "f64"):to "f32", 1e-3))
]]

describe("a host", function()
  it("opens several Lua states, which take turns and are closed in any order", function()
    run_host("states", WORK)
  end)

  it("closes a state while a loader is at work, and leaves the other one alone", function()
    run_host("states", WORK .. "kept = set:loader({ batch = 4, workers = 2 }):batches(1) kept()")
  end)

  it("forks, and computes in parent and children", function()
    run_host("fork", WORK)
  end)

  it("forks in the middle of a pass, which its child has to begin anew", function()
    run_host("fork", [[
      local tr = require "texres"
      if step then
        local ok, message = pcall(step) -- in the parent there is another batch
        assert(ok or message:find "begun by another process", message)
        return
      end
      local labels = {}
      for i = 1, 64 do labels[i] = 1 end
      local set = tr.data.tensors { images = tr.rand(64, 8, 8), labels = labels }
      local a, b
      step, a, b, pass = set:loader({ batch = 4, workers = 2 }):batches(1)
      assert(step())
    ]])
  end)

  it("forks while threads of a loader read HDF5, which its child can read as well", function()
    if not require("texres").hdf5_datasets "spec/fixtures/data/chunked.h5" then return pending "built without HDF5" end
    run_host("fork", [[
      local tr = require "texres"
      local file = "spec/fixtures/data/chunked.h5"
      if step then return assert(tr.hdf5_datasets(file)) end
      local set, positions = assert(tr.data.hdf5 { file = file, cache = false }), {}
      for i = 1, 60000 do positions[i] = i % #set + 1 end
      local a, b
      step, a, b, pass = set:subset(positions):loader({ batch = 20000, workers = 2 }):batches(1)
      assert(step())
    ]])
  end)

  it("that ignores SIGINT, or handles it itself, goes on undisturbed", function()
    run_host("signals", WORK .. "local m = tr.rand(1500, 1500) m:matmul(m)")
  end)

  it("is told when it uses the library from another thread", function()
    local output = run_host("thread", WORK)
    if not output then return end
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.matches("loaded by another thread", lines[1])
    assert.matches("loaded by another thread", lines[2])
    assert.equal("it ran", lines[#lines])
  end)

  it("is told so by whatever it calls there with a state that was handed on", function()
    local output = run_host("thread", ([[if not kept then %s
      local core = require "texres.core"
      kept = { set = set, source = set.source, loader = core.loader(set.source, { 1, 2 }, { 1, 2 }, { classes = 2 }),
        augment = core.augment { "flip" } }
      kept.epoch = kept.loader:start(1, 1)
    else
      local tr, k = require "texres", kept
      local calls = {
        read = function() return k.source:read(1) end, height = function() return k.source.height end,
        length = function() return #k.source end, images = function() return k.source:images { 1 } end,
        cache = function() return k.set:cache() end, statistics = function() return k.set:statistics() end,
        start = function() return k.loader:start(1, 1) end, order = function() return k.loader:order(1) end,
        batches = function() return #k.loader end, next = function() return k.epoch:next() end,
        seed = function() return tr.manual_seed(1) end, state = function() return tr.rng_state() end,
        threads = function() return tr.set_num_threads(2) end, trim = function() return tr.trim_memory() end,
        no_grad = function() return tr.no_grad(function() end) end, zeros = function() return tr.zeros(1) end,
      }
      for name, call in pairs(calls) do
        local ok, message = pcall(call)
        print((ok and "let " or message:find "loaded by another thread" and "refused " or message) .. name)
      end
    end]]):format(WORK))
    if not output then return end
    local refused, let = 0, 0
    for _ in output:gmatch "refused " do refused = refused + 1 end
    for _ in output:gmatch "let " do let = let + 1 end
    assert.same({ 16, 16 }, { refused, let }, output)
  end)

  it("finds its own things as they were", function()
    local ok, output = support.run_lua [[
      local function names(t) local list = {} for k in pairs(t) do list[#list + 1] = tostring(k) end
        table.sort(list) return table.concat(list, " ") end
      local globals, text = names(_G), names(string)
      local tr = require "texres"
      local t = tr.rand(10, 10):matmul(tr.rand(10, 10))
      assert(names(_G) == globals and names(string) == text)
      for _, value in ipairs { true, 1, print, coroutine.create(print) } do assert(debug.getmetatable(value) == nil) end
      assert(debug.getmetatable("").__index == string)
      assert(debug.gethook() == nil)
      assert(not pcall(function() return (true)(t) end))
    ]]
    assert.is_true(ok, output)
  end)
end)

describe("hooks", function()
  it("of debuggers and time limits change no result and are no Ctrl-C", function()
    local ok, output = support.run_lua [[
      local tr = require "texres"
      local calls = 0
      local function check()
        assert(tr.ones(4000, 4000):sum():item() == 16000000)
        assert(tr.full({ 3000, 3000 }, 2):sum():item() == 18000000)
        local t = tr.zeros(3000, 3000):fill(1)
        assert(t:sum():item() == 9000000)
        assert(tr.allclose(t, t))
        assert(tr.arange(2000000):to("f32"):sort():size(1) == 2000000)
      end
      check()
      for _, mask in ipairs { "", "l", "crl" } do
        debug.sethook(function() calls = calls + 1 end, mask, 100)
        check()
        local hook = debug.gethook()
        assert(hook)
        debug.sethook()
        check()
      end
      assert(calls > 10)
    ]]
    assert.is_true(ok, output)
  end)

  it("that raise end a script where it is, and what is computed afterwards is right", function()
    local ok, output = support.run_lua [[
      local tr = require "texres"
      local ends
      local function limit() if os.clock() > ends then error("time is up", 0) end end
      for _ = 1, 5 do
        ends = os.clock() + 0.02
        debug.sethook(limit, "", 100)
        local ok, message = pcall(function() while true do tr.ones(500, 500):exp() end end)
        debug.sethook()
        assert(not ok and message == "time is up", message)
        assert(tr.ones(4000, 1000):sum():item() == 4000000)
      end
    ]]
    assert.is_true(ok, output)
  end)
end)

describe("Ctrl-C", function()
  -- What is computed for a while, in a way that tells whether any of it was left out.
  local works = {
    creation = "assert(tr.ones(4000, 4000):sum():item() == 16000000)",
    filling = "local t = tr.zeros(4000, 4000) t:fill(1) assert(t:sum():item() == 16000000)",
    random = "assert(tr.rand(4000, 2000):min():item() >= 0)",
    arithmetic = "assert((tr.ones(4000, 2000) * 2 + 1):sum():item() == 24000000)",
    matmul = "local a = tr.ones(900, 900) assert(a:matmul(a):sum():item() == 900 ^ 3)",
    allclose = "local a = tr.ones(4000, 2000) assert(tr.allclose(a, a))",
    sort = "assert(tr.rand(3000000):sort():max():item() <= 1)",
    json = "assert(#json.decode(text) == 200000)",
    step = "p.grad = tr.ones(3000000) sgd:step() local low, high = p:min():item(), p:max():item() assert(low == high)",
    loading = "assert(tr.load(path):predict(tr.zeros(8, 8, 1)).label)",
  }

  it("raises once, whatever is being computed, and nothing that was cut short is seen", function()
    local function try(name, work, delay)
      local ok, output = support.run_lua(([[
        local tr, json = require "texres", require "texres.json"
        local text = "[" .. ("1,"):rep(199999) .. "1]"
        local p = tr.nn.Parameter(tr.zeros(3000000))
        local sgd = tr.optim.SGD({ p }, { lr = 1 })
        local path = os.tmpname()
        local net = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(64, 2) }
        assert(tr.save(path, { model = net, input = { 8, 8, 1 } }))
        local function work() %s end
        local press = io.popen("sleep %g; kill -INT $PPID")
        local ok, message = pcall(function()
          local ends = tr.clock() + 20
          while tr.clock() < ends do work() end
        end)
        assert(not ok and message:find "interrupted!$", message)
        for _ = 1, 2 do work() end
        press:close()
        os.remove(path)
        io.write "raised once"
      ]]):format(work, delay))
      assert.same({ true, "raised once" }, { ok, output }, ("%s after %g s"):format(name, delay))
    end
    for name, work in pairs(works) do
      for _, delay in ipairs { 0.05, 0.08, 0.13 } do try(name, work, delay) end
    end
  end)
end)
