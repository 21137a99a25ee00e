--- Elementwise functions: csrc/autograd/{unary,rounding,clamp,add,sub,mul,div,mod,pow,maximum,compare,where}.c
local tr = require "texres"
local naive = require "spec.naive"

local function erf(x) -- Taylor series: good to f64 for the |x| <= 3 used here
  local sum, term, n = x, x, 0
  repeat
    n = n + 1
    term = -term * x * x / n
    sum = sum + term / (2 * n + 1)
  until math.abs(term) < 1e-18
  return 2 / math.sqrt(math.pi) * sum
end

local function half_to_even(x)
  local down = math.floor(x)
  local rest = x - down
  if rest == 0.5 then return down % 2 == 0 and down or down + 1 end
  return rest < 0.5 and down or down + 1
end

local function sign(x) return x > 0 and 1 or x < 0 and -1 or 0 end

-- name, definition, range of x, whether it has a gradient
local unary = {
  { "neg", function(x) return -x end, -2, 2, true },
  { "exp", math.exp, -3, 3, true },
  { "log", math.log, 0.1, 4, true },
  { "sqrt", math.sqrt, 0.1, 4, true },
  { "abs", math.abs, -2, 2, true },
  { "tanh", function(x) local e = math.exp(2 * x); return (e - 1) / (e + 1) end, -3, 3, true },
  { "sigmoid", function(x) return 1 / (1 + math.exp(-x)) end, -6, 6, true },
  { "erf", erf, -3, 3, true },
  { "relu", function(x) return math.max(x, 0) end, -2, 2, true },
  { "sign", sign, -2, 2, false },
  { "floor", math.floor, -4, 4, false },
  { "ceil", math.ceil, -4, 4, false },
  { "round", half_to_even, -4, 4, false },
}

local function power(a, b) return a ^ b end

local binary = {
  { "add", function(a, b) return a + b end, true },
  { "sub", function(a, b) return a - b end, true },
  { "mul", function(a, b) return a * b end, true },
  { "div", function(a, b) return a / b end, true },
  { "mod", function(a, b) return a - b * math.floor(a / b) end, true },
  { "idiv", function(a, b) return math.floor(a / b) end, false },
  { "pow", power, true },
  { "maximum", math.max, true },
  { "minimum", math.min, true },
  { "eq", function(a, b) return a == b and 1 or 0 end, false },
  { "ne", function(a, b) return a ~= b and 1 or 0 end, false },
  { "lt", function(a, b) return a < b and 1 or 0 end, false },
  { "le", function(a, b) return a <= b and 1 or 0 end, false },
  { "gt", function(a, b) return a > b and 1 or 0 end, false },
  { "ge", function(a, b) return a >= b and 1 or 0 end, false },
}

local function assert_gradients(f, inputs)
  local ok, report = tr.gradcheck(f, inputs)
  assert.is_true(ok, report)
end

describe("a function of one element", function()
  for seed, row in ipairs(unary) do
    local name, f, low, high, differentiable = table.unpack(row)
    local reference = naive.random({ 3, 5, 7 }, seed, low, high)
    local x = naive.tensor(reference)

    it(name .. " computes its definition in f64 and f32, for any strides", function()
      local expected = naive.map(f, reference)
      naive.check(x[name](x), expected, 1e-13)
      naive.check(tr[name](naive.strided(x)), expected, 1e-13)
      local x32 = x:to "f32"
      local expected32 = naive.map(f, naive.of(x32))
      assert.equal("f32", x32[name](x32).dtype)
      naive.check(x32[name](x32), expected32, 2e-6)
      naive.check(tr[name](naive.strided(x32)), expected32, 2e-6)
    end)

    if differentiable then
      it(name .. " has the gradient that differences show", function()
        assert_gradients(tr[name], { x })
        assert_gradients(function(t) return tr[name](t:transpose(1, 3)) end, { x })
      end)
    else
      it(name .. " gives a result without gradient", function()
        local t = x:clone()
        t.requires_grad = true
        assert.is_false(tr[name](t).requires_grad)
      end)
    end

    it(name .. " takes tensors without elements and of one number", function()
      assert.same({ 0, 3 }, tr[name](tr.zeros(0, 3)):shape())
      local one = tr.tensor((low + high) / 2, { dtype = "f64" })
      assert.is_true(math.abs(tr[name](one):item() - f((low + high) / 2)) < 1e-13)
    end)
  end

  it("goes on in f32 from integers, unless the result is whole", function()
    local i = tr.tensor({ 0, 1, 4 }, { dtype = "i64" })
    for _, name in ipairs { "exp", "sqrt", "tanh", "sigmoid", "erf", "log" } do
      assert.equal("f32", tr[name](i).dtype, name)
    end
    for _, name in ipairs { "neg", "abs", "sign", "floor", "ceil", "round" } do
      assert.equal("i64", tr[name](i).dtype, name)
    end
    assert.is_true(tr.allclose(i:sqrt(), tr.tensor { 0, 1, 2 }))
  end)

  it("meets the edges of its domain as IEEE 754 has them", function()
    assert.equal(-math.huge, tr.tensor(0):log():item())
    local nan = tr.tensor(-1):sqrt():item()
    assert.is_true(nan ~= nan)
    nan = tr.tensor(-1):log():item()
    assert.is_true(nan ~= nan)
    assert.equal(math.huge, tr.tensor(1000):exp():item())
    assert.equal(0, tr.tensor(-1000):exp():item())
    assert.equal(1, tr.tensor(100):tanh():item())
    assert.equal(0, tr.tensor(-1000):sigmoid():item())
  end)

  it("has PyTorch's gradients at its corners", function()
    local x = tr.tensor({ 0 }, { dtype = "f64" })
    x.requires_grad = true
    x:abs():sum():backward()
    assert.equal(0, x.grad[1]:item())
    x.grad = nil
    tr.relu(x):sum():backward()
    assert.equal(0, x.grad[1]:item())
    x.grad = nil
    x:sqrt():sum():backward()
    assert.equal(math.huge, x.grad[1]:item())
  end)
end)

describe("a function of two operands", function()
  local shapes = {
    { { 3, 4 }, { 3, 4 } }, { { 2, 3, 4 }, { 3, 1 } }, { { 4 }, { 2, 1, 4 } }, { { 2, 1 }, { 1, 3 } }, { {}, { 2, 2 } },
  }
  for seed, row in ipairs(binary) do
    local name, f, differentiable = table.unpack(row)
    local low = name == "pow" and 0.2 or -2

    it(name .. " computes its definition under broadcasting", function()
      for s, pair in ipairs(shapes) do
        local a, b = naive.random(pair[1], seed + s, low, 3), naive.random(pair[2], seed + s + 50, low, 3)
        local expected = naive.map(f, a, b)
        local ta, tb = naive.tensor(a), naive.tensor(b)
        naive.check(tr[name](ta, tb), expected, 1e-13, name)
        naive.check(tr[name](naive.strided(ta), naive.strided(tb)), expected, 1e-13, name .. " strided")
        local fa, fb = ta:to "f32", tb:to "f32"
        naive.check(tr[name](fa, fb), naive.map(f, naive.of(fa), naive.of(fb)), 2e-6, name .. " f32")
      end
    end)

    it(name .. " takes numbers on either side", function()
      local a = naive.random({ 3, 4 }, seed, low, 3)
      local t = naive.tensor(a)
      naive.check(tr[name](t, 1.5), naive.map(function(x) return f(x, 1.5) end, a), 1e-13)
      naive.check(tr[name](1.5, t), naive.map(function(x) return f(1.5, x) end, a), 1e-13)
      assert.equal(differentiable and "f32" or name == "idiv" and "f32" or "u8", tr[name](t:to "f32", 1.5).dtype)
    end)

    if differentiable then
      it(name .. " has the gradients that differences show", function()
        for s, pair in ipairs(shapes) do
          local a = naive.tensor(naive.random(pair[1], seed + s, low, 3))
          local b = naive.tensor(naive.random(pair[2], seed + s + 50, low, 3))
          assert_gradients(tr[name], { a, b })
        end
        local a = naive.tensor(naive.random({ 3, 4 }, seed, 0.3, 3))
        assert_gradients(function(t) return tr[name](t, 1.7) end, { a })
        assert_gradients(function(t) return tr[name](1.7, t) end, { a })
      end)
    else
      it(name .. " gives a result without gradient", function()
        local t = tr.ones(2)
        t.requires_grad = true
        assert.is_false(tr[name](t, 2).requires_grad)
      end)
    end

    it(name .. " names itself and both shapes when they do not fit", function()
      assert.error_matches(function() return tr[name](tr.zeros(2, 3), tr.zeros(4)) end,
        name .. ": shapes {2,3} and {4} do not fit")
      assert.error_matches(function() return tr[name](tr.zeros(2), "x") end,
        name .. ": b must be a tensor or a number, got 'x'")
      assert.error_matches(function() return tr[name](tr.zeros(2)) end,
        name .. ": b must be a tensor or a number, got nil")
    end)

    it(name .. " takes tensors without elements", function()
      assert.same({ 0, 3 }, tr[name](tr.zeros(0, 3), tr.ones(3)):shape())
    end)
  end

  it("stands behind Lua's operators", function()
    local a, b = tr.tensor { 7, -7, 2 }, tr.tensor { 2, 2, -3 }
    assert.same({ 9, -5, -1 }, (a + b):totable())
    assert.same({ 5, -9, 5 }, (a - b):totable())
    assert.same({ 14, -14, -6 }, (a * b):totable())
    assert.same({ 3.5, -3.5 }, (a / b):slice(1, 1, 2):totable())
    assert.same({ 1, 1, -1 }, (a % b):totable())
    assert.same({ 3, -4, -1 }, (a // b):totable())
    assert.same({ 49, 49, 4 }, (a ^ 2):totable())
    assert.same({ -7, 7, -2 }, (-a):totable())
    assert.same({ -6, 8, -1 }, (1 - a):totable())
    assert.same({ 128, 1 / 128, 4 }, (2 ^ a):totable())
  end)

  it("promotes u8 < i64 < f32 < f64, and lets numbers yield", function()
    local order = { "u8", "i64", "f32", "f64" }
    for i, first in ipairs(order) do
      for j, second in ipairs(order) do
        local sum = tr.ones(2, { dtype = first }) + tr.ones(2, { dtype = second })
        assert.equal(order[math.max(i, j)], sum.dtype)
        assert.same({ 2, 2 }, sum:totable())
      end
      assert.equal(first, (tr.ones(2, { dtype = first }) + 1).dtype)
    end
    assert.equal("f32", (tr.ones(2, { dtype = "u8" }) + 0.5).dtype)
    assert.equal("f32", (tr.ones(2, { dtype = "i64" }) / 2).dtype)
    assert.equal("f32", (tr.ones(2, { dtype = "i64" }) / tr.ones(2, { dtype = "i64" })).dtype)
  end)

  it("hands each operand a gradient of its own dtype", function()
    local a, b = tr.tensor { 1, 2 }, tr.tensor({ 3, 4 }, { dtype = "f64" })
    a.requires_grad, b.requires_grad = true, true
    (a * b):sum():backward()
    assert.equal("f32", a.grad.dtype)
    assert.equal("f64", b.grad.dtype)
    assert.same({ 3, 4 }, a.grad:totable())
    assert.same({ 1, 2 }, b.grad:totable())
  end)

  it("has the gradient of powers with a number above", function()
    local x = naive.tensor(naive.random({ 6 }, 4, 0.5, 2))
    for _, p in ipairs { 0, 1, 2, 3, 0.5, -1, -2.5 } do
      assert_gradients(function(t) return t ^ p end, { x })
      if p == math.floor(p) then assert_gradients(function(t) return t ^ p end, { -x }) end
    end
  end)

  it("shares the gradient of maximum and minimum between equals", function()
    for _, name in ipairs { "maximum", "minimum" } do
      local a, b = tr.tensor { 2 }, tr.tensor { 2 }
      a.requires_grad, b.requires_grad = true, true
      tr[name](a, b):sum():backward()
      assert.equal(0.5, a.grad:item())
      assert.equal(0.5, b.grad:item())
    end
  end)

  it("keeps integer arithmetic exact beyond 2^53", function()
    local big = tr.tensor({ 9007199254740993 }, { dtype = "i64" })
    assert.same({ 9007199254740994 }, (big + 1):totable())
    assert.same({ 9007199254740993 // 10 }, (big // 10):totable())
    assert.same({ 9007199254740993 % 10 }, (big % 10):totable())
  end)
end)

describe("clamp", function()
  local reference = naive.random({ 4, 6 }, 3)
  local x = naive.tensor(reference)
  it("limits to both bounds or one", function()
    local function limit(v) return math.max(-1, math.min(v, 0.5)) end
    naive.check(x:clamp(-1, 0.5), naive.map(limit, reference))
    naive.check(naive.strided(x):clamp(-1, 0.5), naive.map(limit, reference))
    naive.check(x:clamp(0), naive.map(function(v) return math.max(0, v) end, reference))
    naive.check(tr.clamp(x, { max = 0.25 }), naive.map(function(v) return math.min(v, 0.25) end, reference))
  end)
  it("has the gradient that differences show", function()
    assert_gradients(function(t) return t:clamp(-1, 0.5) end, { x })
  end)
  it("refuses bounds in the wrong order", function()
    assert.error_matches(function() return x:clamp(2, 1) end, "clamp: min 2 is above max 1")
    assert.error_matches(function() return x:clamp("a") end, "clamp: min must be a number, got 'a'")
  end)
end)

describe("where", function()
  local c, a, b = naive.random({ 3, 1, 4 }, 1), naive.random({ 2, 4 }, 2), naive.random({ 3, 2, 1 }, 3)
  local mask = naive.tensor(c):gt(0)
  it("chooses by the condition, all three broadcast", function()
    local expected = naive.map(function(p, q, r) return p > 0 and q or r end, c, a, b)
    naive.check(tr.where(mask, naive.tensor(a), naive.tensor(b)), expected)
    naive.check(tr.where(mask, naive.tensor(a), 7), naive.map(function(p, q) return p > 0 and q or 7 end, c, a))
    naive.check(mask:where(1, naive.tensor(b)), naive.map(function(p, r) return p > 0 and 1 or r end, c, b))
  end)
  it("has the gradients that differences show", function()
    assert_gradients(function(p, q) return tr.where(mask, p, q) end, { naive.tensor(a), naive.tensor(b) })
  end)
  it("names the shapes that do not fit", function()
    assert.error_matches(function() return tr.where(tr.ones(2), tr.ones(3), tr.ones(2)) end, "where: .*{3}")
  end)
end)
