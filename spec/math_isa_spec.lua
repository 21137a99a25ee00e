--- Functions, reductions, random numbers and optimizer steps in f32, under every instruction set of this machine:
-- against the same in f64, at sizes around the vector widths, and with the same bits for any number of threads.
local support = require "spec.support"

-- Runs in a process of its own; ends with "done" when everything held.
local script = [[
  local tr = require "texres"
  print(tr.isa())
  local sizes = { 1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 1000 }

  -- the distance of f32 values from f64 ones, in units in the last place of the f32 ones
  local function ulps(got, want)
    got, want = got:reshape(-1):totable(), want:reshape(-1):totable()
    local worst = 0
    for i, w in ipairs(want) do
      local g = got[i]
      if w ~= w or g ~= g then
        assert((w ~= w) == (g ~= g), "NaN on one side only")
      elseif g ~= w then
        local exponent = math.floor(math.log(math.abs(w), 2)) + 1
        worst = math.max(worst, math.abs(g - w) / 2.0 ^ (exponent - 24))
      end
    end
    return worst
  end
  local function check(what, got, want, bound)
    local apart = ulps(got, want)
    assert(apart <= bound, ("%s: %g ulp, the bound is %g"):format(what, apart, bound))
  end

  -- functions: their ranges, finely, and every size of a tail
  local functions = {
    exp = { -86, 88, 1 }, log = { 1e-30, 3, 1 }, tanh = { -10, 10, 2.5 }, sigmoid = { -86, 40, 2.5 },
    erf = { -5, 5, 1.5 }, sqrt = { 0, 9, 0.51 },
  }
  for name, range in pairs(functions) do
    local low, high, bound = range[1], range[2], range[3]
    local x = tr.arange(0, 20000):to "f32" * ((high - low) / 20000) + low
    check(name, x[name](x), x:to("f64")[name](x:to "f64"), bound)
    for _, n in ipairs(sizes) do
      local part = x:slice(1, 77, 76 + n):contiguous()
      check(name .. " of " .. n, part[name](part), part:to("f64")[name](part:to "f64"), bound)
    end
    local tiny = tr.tensor { 1e-6, -1e-6, 1e-20, 0.25, -0.25 }:abs()
    check(name .. " near 0", tiny[name](tiny), tiny:to("f64")[name](tiny:to "f64"), bound)
  end
  do
    local elu = tr.nn.functional.elu
    local x = tr.arange(0, 20000):to "f32" / -1000
    check("elu", elu(x), elu(x:to "f64"), 3)
    x = x * 1e-6
    check("elu near 0", elu(x), elu(x:to "f64"), 3)
  end
  do
    local x = tr.arange(1, 20000):to "f32" / 700
    local y = tr.arange(1, 20000):to "f32" % 173 / 20 - 4
    check("pow", x ^ y, x:to "f64" ^ y:to "f64", 1)
    for _, n in ipairs(sizes) do check("pow of " .. n, x:slice(1, 1, n) ^ 1.75, x:slice(1, 1, n):to "f64" ^ 1.75, 1) end
    local signed = (tr.arange(1, 20000):to "f32" % 977 - 500) / 9
    check("mod", signed % (y + 0.06), signed:to "f64" % (y + 0.06):to "f64", 0.51)
    local far = tr.tensor { 1e30, -1e30, 3e9, 7, -7, 7, -7, 5 }
    local by = tr.tensor { 7, 0.3, 1e-3, 0.1, 0.1, -0.1, -0.1, math.huge }
    check("mod far away", far % by, far:to "f64" % by:to "f64", 0.51)
    check("mod by 0", far % 0, far:to "f64" % 0, 0)
    for _, name in ipairs { "floor", "ceil", "round" } do
      check(name, signed[name](signed), signed:to("f64")[name](signed:to "f64"), 0)
    end
    local special = tr.tensor { -2, 0, 0, -1, 4, -8 } ^ tr.tensor { 3, 0.5, -1, 0.5, 0, 2 }
    local values = special:totable()
    assert(values[4] ~= values[4], "a root of -1")
    values[4] = "nan"
    assert(table.concat(values, " ") == "-8.0 0.0 inf nan 1.0 64.0", table.concat(values, " "))
  end
  local function edges(name, input, expected)
    local x = tr.tensor(input)
    local got = x[name](x):totable()
    for i, want in ipairs(expected) do
      assert(got[i] == want or (got[i] ~= got[i] and want ~= want), name .. " at " .. input[i] .. ": " .. got[i])
    end
  end
  local inf, nan = math.huge, 0 / 0
  edges("exp", { inf, -inf, nan, 89, -110, 0 }, { inf, 0, nan, inf, 0, 1 })
  edges("log", { inf, 0, -1, nan, 1 }, { inf, -inf, nan, nan, 0 })
  edges("tanh", { inf, -inf, nan, 0, 50 }, { 1, -1, nan, 0, 1 })
  edges("sigmoid", { inf, -inf, nan, 0 }, { 1, 0, nan, 0.5 })
  edges("erf", { inf, -inf, nan, 0, 6 }, { 1, -1, nan, 0, 1 })

  -- reductions of rows and of columns
  tr.manual_seed(5)
  for _, n in ipairs(sizes) do
    for _, shape in ipairs { { 3, n }, { n, 3 }, { 2, n, 5 } } do
      local x = tr.randn(shape) * 3
      local wide = x:to "f64"
      for d = 1, #shape do
        local what = ("over %d of {%s}"):format(d, table.concat(shape, ","))
        check("logsumexp " .. what, x:logsumexp(d) + 100, wide:logsumexp(d) + 100, 2)
        for _, name in ipairs { "sum", "mean" } do
          local size = wide:abs()[name](wide:abs(), d)
          local apart = (x[name](x, d):to "f64" - wide[name](wide, d)):abs() / size
          assert(apart:max():item() < 1e-7, name .. " " .. what)
        end
        check("norm " .. what, x:norm(d), wide:norm(d), 1)
        if shape[d] > 1 then check("var " .. what, x:var(d), wide:var(d), 1) end
        for _, name in ipairs { "max", "min" } do
          local most, where = x[name](x, d)
          local expected, there = wide[name](wide, d)
          check(name .. " " .. what, most, expected, 0)
          assert(tr.allclose(where, there, 0, 0), "positions of " .. name .. " " .. what)
        end
      end
      check("max of all", x:max(), wide:max(), 0)
    end
    -- a NaN anywhere wins
    for _, at in ipairs { 1, (n + 1) // 2, n } do
      local x = tr.zeros(n)
      x[at] = nan
      local most = x:max():item()
      assert(most ~= most and x:argmax():item() == at and x:argmin():item() == at, "NaN at " .. at .. " of " .. n)
    end
  end

  -- matrix products around the tiles and chunks, plain and transposed, alone and in batches
  local products = {
    { 7, 33, 5 }, { 8, 31, 64 }, { 13, 32, 255 }, { 15, 65, 256 }, { 113, 17, 257 }, { 30, 290, 520 },
  }
  for _, size in ipairs(products) do
    local m, n, k = table.unpack(size)
    local a, b = tr.rand(m, k) - 0.5, tr.rand(k, n) - 0.5
    local want = a:to("f64"):matmul(b:to "f64")
    local at = a:transpose(1, 2):contiguous():transpose(1, 2)
    local bt = b:transpose(1, 2):contiguous():transpose(1, 2)
    for _, pair in ipairs { { a, b }, { at, b }, { a, bt }, { at, bt } } do
      local apart = (pair[1]:matmul(pair[2]):to "f64" - want):abs():max():item()
      assert(apart < 1e-7 * k ^ 0.5 * 4, ("matmul {%d,%d} {%d,%d}: off by %g"):format(m, k, k, n, apart))
    end
    local batch = tr.stack({ a, a * 2, a * 3 }, 1):matmul(tr.stack({ b, b, b }, 1)):to "f64"
    for i = 1, 3 do assert((batch[i] - want * i):abs():max():item() < 1e-6 * k ^ 0.5, "batch") end
  end

  -- bits: everything above once more at sizes of several blocks, printed as a digest per number of threads
  local function digest(t)
    local bytes = {}
    for i, v in ipairs(t:reshape(-1):totable()) do bytes[i] = string.pack("<d", v) end
    local hash = 5381
    for word in table.concat(bytes):gmatch "........" do hash = (hash * 33) ~ string.unpack("<i8", word) end
    return hash
  end
  local function everything(seed)
    tr.manual_seed(seed)
    local hash = {}
    local function add(t) hash[#hash + 1] = digest(t) end
    local x, y = tr.randn(70, 1001), tr.rand(1001)
    add(x:slice(1, 1, 3)); add(y); add(tr.randint(1, 6, { 777 })); add(tr.randn({ 33, 3 }, { dtype = "f64" }))
    for _, name in ipairs { "sum", "mean", "var", "logsumexp", "norm", "max" } do
      add(x[name](x)); add((x[name](x, 1))); add((x[name](x, 2)))
    end
    add((x * y + x / 3):exp():sum(2)); add(x:matmul(x:transpose(1, 2)))
    add(x:cumsum(1):sum(2)); add((x:sort(2)):select(1, 7))
    local p = tr.randn(40000)
    p.requires_grad = true
    local optimizer = tr.optim.AdamW({ p }, { lr = 0.01 })
    for _ = 1, 2 do
      optimizer:zero_grad();
      (p * p):sum():backward()
      optimizer:step()
    end
    add(p:detach():slice(1, 39000, 40000))
    return table.concat(hash, ",")
  end
  local first
  for _, threads in ipairs { 1, 2, 3, 8 } do
    tr.set_num_threads(threads)
    local bits = everything(11)
    first = first or bits
    assert(bits == first, threads .. " threads: other bits\n" .. first .. "\n" .. bits)
  end
  print "done"
]]

describe("f32 functions, reductions, random numbers and optimizers", function()
  for _, isa in ipairs { "ref", "avx2", "avx512", "neon" } do
    it("hold their bounds on " .. isa .. ", the same bits for any number of threads", function()
      local ok, output = support.run_lua(script, { env = { TEXRES_ISA = isa } })
      if not ok and output:find "TEXRES_ISA" then return pending(isa .. " is not on this machine") end
      assert.is_true(ok, output)
      assert.equal(isa .. "\ndone\n", output)
    end)
  end
end)
