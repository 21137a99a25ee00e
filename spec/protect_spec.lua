-- Which errors the library may take for an answer, and that no other is swallowed on any way through it.

local support = require "spec.support"
local tr = require "texres"
local protect = require "texres.protect"
local json = require "texres.json"

local function raised(f, ...)
  local ok, failure = pcall(f, ...)
  assert.is_false(ok)
  return failure
end

local function unhook(...)
  debug.sethook()
  return ...
end

-- Calls f with a debug hook that raises `failure` after `count` instructions; whether f came to its end before.
local function limited(count, failure, f)
  local ok, value, problem = pcall(function()
    debug.sethook(function() error(unhook(failure), 0) end, "", count)
    return unhook(f())
  end)
  if not ok then assert.equal(failure, value) end
  return ok, value, problem
end

describe("protect.catch", function()
  it("gives results, or nil and the message", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(protect.catch(function(...) return ... end, 1, nil, 3)))
    assert.same({ nil, "bad data", n = 2 }, table.pack(protect.catch(error, "bad data", 0)))
    local function nested() return protect.catch(error, "inner", 0) end
    assert.same({ nil, "inner", n = 2 }, table.pack(protect.catch(nested)))
  end)

  it("hands on what says nothing of the data", function()
    local object = setmetatable({}, { __tostring = function() error "never asked" end })
    for _, failure in ipairs { object, 42, "interrupted!", "x.lua:3: interrupted!", "not enough memory" } do
      assert.equal(failure, raised(protect.catch, error, failure, 0))
    end
    assert.is_nil(raised(protect.catch, error, nil))
  end)

  it("blames no line of whoever gave the data, but one of the function that was called", function()
    local net = { module = "Conv2d", arguments = { ["1"] = 1, ["2"] = 2, ["3"] = 0 } }
    local _, message = protect.catch(tr.nn.from_config, net)
    assert.equal("Conv2d: kernel is 0, wanted a whole number of at least 1", message)
    _, message = protect.catch(function() tr.nn.from_config(net) end)
    assert.matches("^spec/protect_spec.lua:%d+: Conv2d: kernel is 0", message)
  end)

  it("hands on what a debug hook raises, however deep", function()
    local function loop() while true do math.abs(1) end end
    local finished = limited(1000, "time is up", function() return protect.catch(protect.catch, loop) end)
    assert.is_false(finished)
  end)
end)

describe("protect.between", function()
  it("puts back what was changed, on return, error, and where the change itself fails", function()
    local changed = {}
    local function before() changed[#changed + 1] = "before" end
    local function after() changed[#changed + 1] = "after" end
    assert.same({ 1, nil, n = 2 }, table.pack(protect.between(before, after, function(...) return ... end, 1, nil)))
    assert.equal("no", raised(protect.between, before, after, error, "no", 0))
    assert.equal("half", raised(protect.between, function() before() error("half", 0) end, after, error))
    assert.same({ "before", "after", "before", "after", "before", "after" }, changed)
  end)

  it("leaves no watcher on a network where memory runs out before the pass begins", function()
    local module, called = require "texres.nn.module", 0
    local finally, between = protect.finally, protect.between
    local function fail() error("not enough memory", 0) end
    protect.finally, protect.between = fail, fail
    local failure = raised(module.watch, function() called = called + 1 end, function() end)
    protect.finally, protect.between = finally, between
    assert.equal("not enough memory", failure)
    tr.nn.Linear(1, 1)(tr.ones(1, 1))
    assert.equal(0, called)
  end)
end)

describe("protect.finally", function()
  it("cleans up on return, error and the end of a coroutine", function()
    local count = 0
    local function after() count = count + 1 end
    assert.same({ 1, nil, n = 2 }, table.pack(protect.finally(after, function(...) return ... end, 1, nil)))
    assert.equal("no", raised(protect.finally, after, error, "no", 0))
    local waiting = coroutine.create(function() protect.finally(after, coroutine.yield) end)
    coroutine.resume(waiting)
    assert.equal(2, count)
    coroutine.close(waiting)
    assert.equal(3, count)
  end)
end)

describe("a time limit", function()
  -- Sound work under ever longer limits: it ends by the limit's error or with the right answer, never otherwise.
  local function never_swallowed(work, check)
    local count, finished = 1, false
    while not finished do
      local ok, value, problem = limited(count, "time is up", work)
      finished = ok
      if ok then check(value, problem) end
      count = math.ceil(count * 1.3)
    end
  end

  it("is not taken for damaged JSON", function()
    local text = json.encode { a = { 1, 2, "x" }, b = { c = true } }
    never_swallowed(function() return json.decode(text) end, function(value) assert.equal("x", value.a[3]) end)
  end)

  it("is not taken for a damaged checkpoint, nor for a model without an architecture", function()
    local path = support.folder() .. "/model.safetensors"
    local model = tr.nn.Sequential { tr.nn.Linear(3, 4), tr.nn.ReLU(), tr.nn.Linear(4, 2) }
    never_swallowed(function() return tr.save(path, { model = model }) end, function(value, problem)
      assert.is_nil(problem)
      assert.is_true(value)
    end)
    never_swallowed(function() return tr.load(path) end, function(value, problem)
      assert.is_nil(problem)
      assert.same(model:state_dict()["1.weight"]:totable(), value.model:state_dict()["1.weight"]:totable())
    end)
  end)
end)

describe("an error in model:config()", function()
  it("is the caller's, not a model without an architecture", function()
    local Net = tr.nn.Module("ProtectedNet")
    function Net:init() self.layer = tr.nn.Linear(2, 2) end
    function Net:forward(x) return self.layer(x) end
    function Net.config() error("config is broken", 0) end
    local path = support.folder() .. "/broken.safetensors"
    assert.matches("config is broken", raised(tr.save, path, { model = Net() }))
    assert.is_nil(io.open(path))
  end)
end)
