--- The tape: csrc/autograd/{call,tape}.c, csrc/lua/autograd.c, lua/texres/function.lua
local tr = require "texres"
local naive = require "spec.naive"

local function leaf(values, dtype)
  local t = tr.tensor(values, { dtype = dtype or "f64" })
  t.requires_grad = true
  return t
end

describe("backward", function()
  it("follows the chain rule", function()
    local x = leaf { 0.5, -1 }
    local y = (x * x * 3 + x):exp():sum()
    y:backward()
    for i, v in ipairs { 0.5, -1 } do
      local expected = math.exp(3 * v * v + v) * (6 * v + 1)
      assert.is_true(math.abs(x.grad[i]:item() - expected) < 1e-12)
    end
  end)

  it("adds up what arrives by several ways", function()
    local x = leaf { 2 }
    local a = x * 3
    local y = a * a + a + x -- a is used three times, x twice: a diamond
    y:sum():backward()
    assert.equal(2 * 9 * 2 + 3 + 1, x.grad:item())
  end)

  it("computes every node once in a ladder of diamonds", function()
    local x = leaf { 1 }
    local y = x
    for _ = 1, 60 do y = y + y end -- 2^60 paths
    y:sum():backward()
    assert.equal(2.0 ^ 60, x.grad:item())
  end)

  it("adds to the gradient that is there, until it is taken away", function()
    local x = leaf { 1, 2 }
    x:mul(2):sum():backward()
    x:mul(3):sum():backward()
    assert.same({ 5, 5 }, x.grad:totable())
    x.grad = nil
    x:mul(3):sum():backward()
    assert.same({ 3, 3 }, x.grad:totable())
  end)

  it("takes a gradient to start from", function()
    local x = leaf { 1, 2, 3 }
    x:mul(x):backward(tr.tensor({ 1, 10, 100 }, { dtype = "f64" }))
    assert.same({ 2, 40, 600 }, x.grad:totable())
    assert.error_matches(function() (x * x):backward() end,
      "backward: the tensor is {3}: give a gradient of that shape")
    assert.error_matches(function() (x * x):backward(tr.ones(2)) end, "backward: the gradient is {2}, the tensor {3}")
  end)

  it("starts at a leaf, too", function()
    local x = leaf(3)
    x:backward()
    assert.equal(1, x.grad:item())
  end)

  it("reaches only what requires a gradient", function()
    local x, c = leaf { 1 }, tr.tensor({ 5 }, { dtype = "f64" })
    local y = x * c
    assert.is_true(y.requires_grad)
    assert.is_false((c * 2).requires_grad)
    y:sum():backward()
    assert.is_nil(c.grad)
    assert.equal(5, x.grad:item())
    assert.error_matches(function() (c * 2):sum():backward() end,
      "backward: this tensor {} does not depend on any tensor that requires a gradient")
  end)

  it("frees the graph: a second one says so", function()
    local x = leaf { 1 }
    local shared = x * 2
    local y = (shared * 3):sum()
    y:backward()
    assert.error_matches(function() y:backward() end, "backward: the graph .* was already used .*sum.* is freed")
    assert.error_matches(function() (shared + 1):sum():backward() end, "backward: the graph .* was already used .*mul")
    assert.equal(6, x.grad:item())
  end)

  it("lets two graphs share a leaf", function()
    local x = leaf { 1 }
    local y, z = (x * 2):sum(), (x * 5):sum()
    y:backward()
    z:backward()
    assert.equal(7, x.grad:item())
  end)

  it("walks a chain of 10,000 nodes and lets it go without recursion", function()
    local x = leaf { 1 }
    local y = x
    for _ = 1, 10000 do y = y + 1 end
    y:sum():backward()
    assert.equal(1, x.grad:item())
    local z = x
    for _ = 1, 10000 do z = z * 1 end
    z:free() -- never walked: only freed
    collectgarbage()
  end)

  it("keeps gradients apart from what they were copied from", function()
    local a, b = leaf { 1 }, leaf { 1 }
    local dy = tr.ones(1, { dtype = "f64" })
    local y = a + b
    y:backward(dy)
    tr.no_grad(function() a.grad:fill(9) end)
    assert.equal(1, b.grad:item())
    assert.equal(1, dy:item())
  end)

  it("materializes gradients that are expanded numbers", function()
    local x = leaf { 1, 2, 3 }
    x:sum():backward()
    tr.no_grad(function() x.grad[1] = 5 end)
    assert.same({ 5, 1, 1 }, x.grad:totable())
  end)

  it("goes through views of one tensor", function()
    local x = leaf { { 1, 2 }, { 3, 4 } }
    local y = x[1] * x:transpose(1, 2)[2] + x:view(4):slice(1, 1, 2)
    y:sum():backward()
    -- x[1] = {1,2}, column 2 = {2,4}; plus the first row
    assert.same({ { 2 + 1, 4 + 1 + 1 }, { 0, 2 } }, x.grad:totable())
  end)
end)

describe("a random graph", function()
  -- Each step makes a {3,4} tensor out of earlier ones: views, broadcasting, several results, inputs used many times.
  local steps = {
    function(a, b) return a + b end,
    function(a, b) return a * b end,
    function(a, b) return a / (b * b + 1) end,
    function(a) return a:tanh() end,
    function(a) return (a * 0.3):exp() end,
    function(a, b) return a - b:mean(1) end,
    function(a, b) return a * b:sum(2, true) * 0.3 end,
    function(a, b) return (a:matmul(b:transpose(1, 2)) * 0.2):matmul(b) end,
    function(a, b) return tr.cat({ a:slice(1, 1, 2), b:slice(1, 3, 3) }, 1) end,
    function(a) return a:transpose(1, 2):reshape(3, 4) end,
    function(a, b) return tr.stack({ a[1], b[2], a[3] }) end,
    function(a) return a:index_select(2, tr.tensor({ 4, 4, 1, 2 }, { dtype = "i64" })) end,
    function(a, b)
      local values, places = a:sort(2)
      return values * b:gather(2, places)
    end,
    function(a) return tr.nn.functional.softmax(a, 2) end,
    function(a) return a:logsumexp(1):expand(3, 4) * 0.5 end,
    function(a, b) return tr.where(b:gt(0), a, b) end,
    function(a)
      local parts = a:split({ 1, 3 }, 2)
      return tr.cat({ parts[2], parts[1] * 2 }, 2)
    end,
    function(a) return a:permute(2, 1):clone():permute(2, 1) end,
  }

  for seed = 1, 40 do
    it("has the gradient that differences show, number " .. seed, function()
      local state = seed
      local function pick(n)
        state = state * 6364136223846793005 + 1442695040888963407
        return (state >> 33) % n + 1
      end
      local program = {}
      for i = 1, 12 do program[i] = { steps[pick(#steps)], pick(i + 1), pick(i + 1) } end
      local function run(x, row)
        local nodes = { x, x * 0.5 + row }
        for _, step in ipairs(program) do nodes[#nodes + 1] = step[1](nodes[step[2]], nodes[step[3]]) end
        return nodes[#nodes], nodes[3]
      end
      local x, row = naive.random({ 3, 4 }, seed, -1, 1), naive.random({ 4 }, seed + 99, -1, 1)
      local ok, report = tr.gradcheck(run, { naive.tensor(x), naive.tensor(row) })
      assert.is_true(ok, report)
    end)
  end
end)

describe("requires_grad", function()
  it("is set on leaves of float dtype only", function()
    local x = tr.ones(2, { requires_grad = true })
    assert.is_true(x.requires_grad)
    assert.is_true(x.is_leaf)
    assert.is_nil(x.operation)
    local y = x * 2
    assert.is_false(y.is_leaf)
    assert.equal("mul", y.operation)
    assert.error(function() tr.ones(2, { dtype = "i64" }).requires_grad = true end)
    assert.error(function() y.requires_grad = false end)
  end)

  it("is not handed on inside no_grad", function()
    local x = leaf { 1 }
    local inside = tr.no_grad(function()
      assert.is_false(tr.grad_enabled())
      assert.is_true(tr.enable_grad(function() return (x * 2).requires_grad end))
      return x * 2
    end)
    assert.is_false(inside.requires_grad)
    assert.is_true(tr.grad_enabled())
    assert.is_false(pcall(tr.no_grad, error))
    assert.is_true(tr.grad_enabled(), "an error inside no_grad ends it")
    assert.same({ 1, 2 }, { tr.no_grad(function(...) return ... end, 1, 2) })
  end)

  it("names what a texres.Function is made of when it is given something else", function()
    for _, bad in ipairs { false, 5, "f", print, {} } do
      local ok, message = pcall(tr.Function, bad)
      assert.is_false(ok)
      assert.matches("texres.Function: .+, wanted ", message)
    end
  end)

  it("ends at detach, which shares memory", function()
    local x = leaf { 1, 2 }
    local y = (x * 2):detach()
    assert.is_false(y.requires_grad)
    local z = x:detach()
    tr.no_grad(function() z:fill(7) end)
    assert.same({ 7, 7 }, x:totable())
  end)
end)

describe("an error object", function()
  local function fails_with(object)
    local f = tr.Function {
      forward = function(_, t) return t * 2 end,
      backward = function() error(object) end,
    }
    local y = f(leaf { 1 })
    local ok, got = pcall(y.backward, y)
    assert.is_false(ok)
    assert.is_true(tr.grad_enabled())
    return got
  end

  it("of a backward in Lua passes unchanged", function()
    local odd = setmetatable({}, { __tostring = function() error "no text" end })
    for _, object in ipairs { { code = 7 }, odd, print, io.stdout, 1e300 } do
      assert.equal(object, fails_with(object))
    end
    assert.matches("texres.Function: backward failed: .*boom", fails_with "boom")
    assert.matches("texres.Function: backward failed: nil", fails_with(nil), 1, true)
    local f = tr.Function { forward = function(_, x) return x * 2 end, backward = function() return "x" end }
    assert.error_matches(function() f(leaf { 1 }):backward() end, "backward failed: .*backward gave 'x' for input 1")
    assert.matches("backward: this tensor", select(2, pcall(function() tr.ones(1):backward() end)), 1, true)
  end)

  it("of a function inside no_grad passes unchanged", function()
    local object = { code = 7 }
    assert.equal(object, select(2, pcall(tr.no_grad, error, object)))
    assert.equal(object, select(2, pcall(tr.enable_grad, error, object)))
    assert.is_true(tr.grad_enabled())
  end)
end)

describe("no_grad in coroutines", function()
  local x = leaf { 1, 2 }
  local function recorded() return (x * 2).requires_grad end

  it("goes on after a yield, and is not in force for others meanwhile", function()
    local step = coroutine.wrap(function()
      tr.no_grad(function()
        coroutine.yield(recorded())
        tr.enable_grad(function() coroutine.yield(recorded()) end)
        coroutine.yield(recorded())
      end)
      coroutine.yield(recorded())
    end)
    for _, inside in ipairs { false, true, false, true } do
      assert.equal(inside, step())
      assert.is_true(recorded())
      assert.is_true(tr.grad_enabled())
      tr.no_grad(function() assert.is_false(recorded()) end)
    end
  end)

  it("holds for coroutines that are resumed inside", function()
    local step = coroutine.wrap(function()
      coroutine.yield(recorded())
      coroutine.yield(recorded())
    end)
    assert.is_false(tr.no_grad(step))
    assert.is_true(step())
  end)

  it("ends with a coroutine that fails, is closed or given up", function()
    local function suspended()
      local co = coroutine.create(function() tr.no_grad(coroutine.yield) end)
      assert(coroutine.resume(co))
      return co
    end
    local failing = coroutine.create(function() tr.no_grad(error, "no") end)
    assert.is_false(coroutine.resume(failing))
    assert.is_true(recorded())
    assert.is_true(coroutine.close(suspended()))
    assert.is_true(recorded())
    for _ = 1, 100 do suspended() end
    collectgarbage()
    assert.is_true(recorded())
    assert.is_false(tr.no_grad(recorded))
  end)

  it("leaves backward of a texres.Function unrecorded", function()
    local inside
    local double = tr.Function {
      forward = function(_, t) return t * 2 end,
      backward = function(_, dy)
        inside = { recorded(), tr.enable_grad(recorded) }
        return dy * 2
      end,
    }
    local co = coroutine.create(function() tr.no_grad(coroutine.yield) end)
    assert(coroutine.resume(co))
    local y = double(x)
    ;(y * y):sum():backward()
    assert.same({ false, true }, inside)
    assert.is_true(recorded())
    assert.is_false(x.grad.requires_grad)
  end)
end)

describe("a change in place", function()
  it("of a tensor saved for backward is named at backward", function()
    local x, w = leaf { 1, 2 }, tr.tensor({ 3, 4 }, { dtype = "f64" })
    local y = (x * w):sum()
    w:fill(0)
    assert.error_matches(function() y:backward() end, "mul: a tensor {2} saved for backward was changed in place")
  end)

  it("through a view counts, too", function()
    local x, w = leaf { 1, 2 }, tr.tensor({ 3, 4 }, { dtype = "f64" })
    local y = (x * w):sum()
    w:slice(1, 1, 1):fill(0)
    assert.error_matches(function() y:backward() end, "mul: a tensor {2} saved for backward was changed in place")
  end)

  it("of what was not saved is none of its business", function()
    local x, c = leaf { 1, 2 }, tr.tensor({ 3, 4 }, { dtype = "f64" })
    local y = (x + c):sum()
    c:fill(0)
    y:backward()
    assert.same({ 1, 1 }, x.grad:totable())
  end)

  it("is refused on tensors of the graph outside no_grad", function()
    local x = leaf { 1, 2 }
    assert.error_matches(function() x:fill(0) end,
      "fill: this tensor {2} is changed in place, but it requires a gradient")
    assert.error_matches(function() x[1] = 0 end, "requires a gradient")
    assert.error_matches(function() (x * 2):zero() end, "was computed from one that requires a gradient")
    tr.no_grad(function() x:fill(4) end)
    assert.same({ 4, 4 }, x:totable())
  end)
end)

describe("texres.Function", function()
  local square = tr.Function {
    forward = function(ctx, t)
      ctx:save(t)
      return t * t
    end,
    backward = function(ctx, dy)
      local t = ctx:saved()
      return dy * t * 2
    end,
  }

  it("is part of the graph", function()
    local x = leaf { 3, -1 }
    local y = square(x * 2)
    assert.equal("texres.Function", y.operation)
    y:sum():backward()
    assert.same({ 24, -8 }, x.grad:totable())
    assert.is_true(tr.gradcheck(square, { leaf { 1.5, 2 } }))
  end)

  it("takes several inputs, plain arguments and gives several results", function()
    local both = tr.Function {
      forward = function(ctx, a, b, factor)
        ctx.factor = factor
        ctx:save(a, b)
        return a * b * factor, a + b
      end,
      backward = function(ctx, dproduct, dsum)
        local a, b = ctx:saved()
        local da = dproduct and dproduct * b * ctx.factor
        local db = dproduct and dproduct * a * ctx.factor
        if dsum then da, db = da and da + dsum or dsum, db and db + dsum or dsum end
        return da, db, nil
      end,
    }
    local a, b = leaf { 1, 2 }, leaf { 3, 4 }
    assert.is_true(tr.gradcheck(function(p, q) return both(p, q, 5) end, { a, b }))
    local _, s = both(a, b, 5)
    s:sum():backward()
    assert.same({ 1, 1 }, b.grad:totable())
  end)

  it("finds a wrong gradient by gradcheck", function()
    local wrong = tr.Function {
      forward = function(_, t) return t * t end,
      backward = function(_, dy) return dy end,
    }
    local ok, report = tr.gradcheck(wrong, { leaf { 1.5 } })
    assert.is_false(ok)
    assert.matches("texres.Function: 1 of 1 elements differ, worst at input 1 element {1}: analytic .*, numeric ",
      report)
  end)

  it("reports errors of its backward and gradients that do not fit", function()
    local broken = tr.Function {
      forward = function(_, t) return t * 1 end,
      backward = function() error "out of yarn" end,
    }
    local y = broken(leaf { 1 })
    assert.error_matches(function() y:sum():backward() end, "texres.Function: .*out of yarn")
    local short = tr.Function {
      forward = function(_, t) return t * 1 end,
      backward = function(_, dy) return dy:slice(1, 1, 1) end,
    }
    y = short(leaf { 1, 2 })
    assert.error_matches(function() y:sum():backward() end,
      "texres.Function: backward gave a gradient f64 {1} for input 1")
    local text = tr.Function { forward = function(_, t) return t * 1 end, backward = function() return "x" end }
    y = text(leaf { 1 })
    assert.error_matches(function() y:sum():backward() end, "texres.Function: ")
  end)

  it("notices that a tensor it saved was changed in place", function()
    local t = tr.tensor({ 2 }, { dtype = "f64" })
    local f = tr.Function {
      forward = function(ctx, x)
        ctx:save(t)
        return x * t
      end,
      backward = function(ctx, dy) return dy * ctx:saved() end,
    }
    local y = f(leaf { 1 })
    t:fill(5)
    assert.error_matches(function() y:sum():backward() end, "saved tensor 1 was changed in place")
  end)

  it("asks for what it needs", function()
    assert.error_matches(function() tr.Function { forward = print } end,
      "texres.Function: backward is nil, wanted a function")
    local f = tr.Function { forward = function() return 1 end, backward = function() end }
    assert.error_matches(function() f(leaf { 1 }) end, "texres.Function: forward must return tensors, got 1")
  end)

  it("may hand its input through", function()
    local x = leaf { 2 }
    local f = tr.Function { forward = function(_, t) return t end, backward = function(_, dy) return dy * 10 end }
    f(x):sum():backward()
    assert.equal(10, x.grad:item())
  end)
end)

describe("gradcheck", function()
  it("says which element is worst", function()
    local ok, report = tr.gradcheck(tr.mul, { leaf { 1, 2 }, leaf { 3, 4 } })
    assert.is_true(ok)
    assert.matches("^gradcheck: mul: 4 elements agree, worst at input %d element {%d}: analytic .*, numeric ", report)
  end)
  it("checks in f64 whatever the dtype, and leaves inputs alone", function()
    local x, labels = tr.tensor { 1, 2 }, tr.tensor({ 2, 1 }, { dtype = "i64" })
    assert.is_true(tr.gradcheck(function(t, i)
      assert.equal("f64", t.dtype)
      return t:index_select(1, i)
    end, { x, labels }))
    assert.is_false(x.requires_grad)
    assert.same({ 1, 2 }, x:totable())
  end)
  it("leaves the random numbers alone, and repeats those of the function", function()
    tr.manual_seed(3)
    local first = tr.rand(3):totable()
    tr.manual_seed(3)
    assert.is_true(tr.gradcheck(function(t) return t * tr.rand(2, { dtype = "f64" }) end, { leaf { 1, 2 } }))
    tr.manual_seed(3)
    assert.same(first, tr.rand(3):totable())
  end)
  it("finds NaN, missing and wrong gradients", function()
    assert.is_false(tr.gradcheck(tr.log, { leaf { -1 } }))
    assert.is_false(tr.gradcheck(function(x) return x:detach() * 2 end, { leaf { 1 } }))
    assert.is_false(tr.gradcheck(function(x) return x * x:detach() end, { leaf { 1 } }))
  end)
  it("says what it was not given", function()
    assert.error_matches(function() tr.gradcheck(tr.exp, { tr.zeros(2, { dtype = "i64" }) }) end,
      "gradcheck: none of the inputs is a float tensor")
    assert.error_matches(function() tr.gradcheck(tr.exp) end, "gradcheck: inputs is nil, wanted a list")
    assert.error_matches(function() tr.gradcheck(function() return 1 end, { leaf { 1 } }) end,
      "gradcheck: the function returned no float tensor")
  end)
end)

describe("ownership", function()
  local function settled()
    for _ = 1, 4 do collectgarbage() end
    return tr.live_bytes()
  end

  it("refuses a backward that would come by the node whose backward calls it", function()
    for _, again in ipairs { "y", "z" } do
      local tensors = {}
      local f = tr.Function {
        forward = function(_, x) return x * 2 end,
        backward = function(_, dy)
          tensors[again]:backward(tr.ones(3))
          return dy * 2
        end,
      }
      local x = tr.nn.Parameter(tr.ones(3))
      tensors.y = f(x)
      tensors.z = tensors.y * 3
      assert.error_matches(function() tensors.z:backward(tr.ones(3)) end, "already used by a backward")
      assert.is_true(tr.grad_enabled())
    end
  end)

  it("lets a backward in Lua use a graph of its own", function()
    local f = tr.Function {
      forward = function(ctx, x) ctx:save(x) return x * x end,
      backward = function(ctx, dy)
        local x = ctx:saved():detach():clone()
        x.requires_grad = true
        tr.enable_grad(function() (x * x):backward(dy) end)
        return x.grad
      end,
    }
    local x = tr.nn.Parameter(tr.tensor { 1, 2, 3 })
    f(x):sum():backward()
    assert.same({ 2, 4, 6 }, x.grad:totable())
  end)

  it("holds no tensor by itself: gradients of gradients, results in a context", function()
    local before = settled()
    do
      local t = tr.ones(1000)
      t.grad = t
      t.grad.grad = t
      local a, b = tr.ones(1000), tr.ones(1000)
      a.grad, b.grad = b, a
      local f = tr.Function {
        forward = function(ctx, x)
          local y = x * 2
          ctx:save(y)
          ctx.y, ctx[y], ctx.hidden = y, true, setmetatable({ y }, {})
          ctx.get = function() return y end
          return y
        end,
        backward = function(ctx, dy) return dy * ctx.y end,
      }
      f(tr.nn.Parameter(tr.ones(1000)))
    end
    assert.equal(before, settled())
  end)

  it("leaves tensors alone that a Function's forward returns but did not compute", function()
    local before = settled()
    do
      local other, constant = tr.nn.Parameter(tr.ones(3)), tr.ones(3)
      local computed = other * 3
      for _, returned in ipairs { other, computed, constant } do
        local is_leaf, needs, operation = returned.is_leaf, returned.requires_grad, returned.operation
        local f = tr.Function {
          forward = function() return returned, returned end,
          backward = function(_, first, second) return first + second * 2 end,
        }
        local x = tr.nn.Parameter(tr.ones(3))
        local a, b = f(x)
        a:add(b):sum():backward()
        assert.same({ 3, 3, 3 }, x.grad:totable())
        assert.same({ is_leaf, needs, operation }, { returned.is_leaf, returned.requires_grad, returned.operation })
      end
      assert.is_nil(other.grad)
      computed:sum():backward()
      assert.same({ 3, 3, 3 }, other.grad:totable())
    end
    assert.equal(before, settled())
  end)

  it("frees long chains of gradients and of operations", function()
    local before = settled()
    do
      local first = tr.ones(1)
      local t = first
      for _ = 1, 200000 do
        t.grad = tr.ones(1)
        t = t.grad
      end
      local x = tr.nn.Parameter(tr.ones(1))
      local y = x
      for _ = 1, 100000 do y = y + 1 end
    end
    assert.equal(before, settled())
  end)

  it("is over when __gc was called by hand", function()
    local set = tr.data.tensors { images = tr.rand(8, 4, 4), labels = { 1, 1, 1, 1, 1, 1, 1, 1 } }
    local _, _, _, pass = set:loader({ batch = 2, workers = 1 }):batches(1)
    local core = require "texres.core"
    for name, object in pairs {
      tensor = tr.ones(2), source = set.source, loader = set:loader({ batch = 2 }).handle, pass = pass,
      augment = core.augment { "flip" },
    } do
      local meta = getmetatable(object)
      for _ = 1, 2 do
        if meta.__gc then meta.__gc(object) end
      end
      for _, fn in pairs(meta) do
        if type(fn) == "function" then pcall(fn, object, 1, 1, 1) end
      end
      for _, fn in pairs(type(meta.__index) == "table" and meta.__index or {}) do
        if type(fn) == "function" then pcall(fn, object, 1, 1, 1) end
      end
      for _, fn in pairs(meta) do
        if type(fn) == "function" then
          for _, wrong in ipairs { 1, "x", {}, io.stdout, tr.ones(1), set.source } do pcall(fn, wrong, 1) end
        end
      end
      assert.is_string(name)
    end
    assert.is_false((pcall(function() return #set.source end)))
  end)

  it("checks the lists of an optimizer's step", function()
    local t = tr.nn.Parameter(tr.ones(2))
    t.grad = tr.ones(2)
    local core = require "texres.core"
    for _, arguments in ipairs {
      { { t }, 5, 5, {} }, { { t }, {}, {}, {} }, { { t }, { t }, { 1 }, { lr = 1 } }, { 3 }, {},
    } do
      assert.is_false((pcall(core.optimizer.adam_step, table.unpack(arguments, 1, 4))))
    end
  end)
end)
