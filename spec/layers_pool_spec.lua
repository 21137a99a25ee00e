--- Pooling: csrc/autograd/{max_pool2d,avg_pool2d,global_avg_pool}.c and the kernels on windows.
local tr = require "texres"
local naive = require "spec.naive"
local F = tr.nn.functional

local f64 = { dtype = "f64" }

-- k, stride, padding {top,bottom,left,right}
local settings = {
  { { 2, 2 }, { 2, 2 }, { 0, 0, 0, 0 } },
  { { 3, 3 }, { 2, 2 }, { 1, 1, 1, 1 } },
  { { 3, 2 }, { 1, 2 }, { 1, 0, 0, 1 } },
  { { 1, 1 }, { 2, 3 }, { 0, 0, 0, 0 } }, -- pixels that no window covers
  { { 4, 3 }, { 3, 1 }, { 3, 2, 1, 2 } },
  { { 6, 5 }, { 1, 1 }, { 0, 0, 0, 0 } }, -- one window over everything
}

local function options_of(setting, more)
  local options = { k = setting[1], stride = setting[2], padding = setting[3] }
  for key, value in pairs(more or {}) do options[key] = value end
  return options
end

-- f(list of the pixels in the window, number of pixels with padding) for every window and channel.
local function pooled(x, setting, f)
  local n, h, w, c = table.unpack(x.shape)
  local k, stride, pad = table.unpack(setting)
  local p = (h + pad[1] + pad[2] - k[1]) // stride[1] + 1
  local q = (w + pad[3] + pad[4] - k[2]) // stride[2] + 1
  return naive.build({ n, p, q, c }, function(i)
    local list = {}
    for r = 1, k[1] do
      for s = 1, k[2] do
        local row, column = (i[2] - 1) * stride[1] - pad[1] + r, (i[3] - 1) * stride[2] - pad[3] + s
        if row >= 1 and row <= h and column >= 1 and column <= w then
          list[#list + 1] = naive.get(x, { i[1], row, column, i[4] })
        end
      end
    end
    return f(list, k[1] * k[2])
  end)
end

local function sum(list)
  local s = 0
  for _, v in ipairs(list) do s = s + v end
  return s
end

local pools = {
  { "max_pool2d", function(list) return math.max(table.unpack(list)) end },
  { "avg_pool2d", function(list, all) return sum(list) / all end },
  { "avg_pool2d", function(list) return sum(list) / #list end, { count_include_pad = false } },
}

for _, row in ipairs(pools) do
  local name, f, more = table.unpack(row)
  describe(name .. (more and " without counting padding" or ""), function()
    it("follows its definition, for any window and width", function()
      for _, c in ipairs { 1, 3, 7, 16, 17, 33, 64 } do
        local x = naive.random({ c < 16 and 2 or 1, 6, 5, c }, c)
        for _, setting in ipairs(settings) do
          local expected = pooled(x, setting, f)
          naive.check(F[name](naive.tensor(x), options_of(setting, more)), expected, 1e-12, "f64")
          naive.check(F[name](naive.tensor(x, "f32"), options_of(setting, more)), expected, 2e-6, "f32")
        end
      end
    end)

    it("has the gradient that differences show", function()
      for _, setting in ipairs(settings) do
        local options = options_of(setting, more)
        local ok, report = tr.gradcheck(function(x) return F[name](x, options) end, { tr.randn({ 2, 6, 5, 2 }, f64) })
        assert.is_true(ok, report)
      end
    end)

    it("has in f32 the gradient of f64, for any width", function()
      for _, c in ipairs { 1, 3, 7, 16, 17, 33, 64 } do
        for _, setting in ipairs(settings) do
          local grad = {}
          for _, dtype in ipairs { "f64", "f32" } do
            local x = naive.tensor(naive.random({ 1, 6, 5, c }, 9), dtype)
            x.requires_grad = true
            local y = F[name](x, options_of(setting, more))
            y:backward(naive.tensor(naive.random(y:shape(), 10), dtype))
            grad[dtype] = x.grad
          end
          naive.check(grad.f32, naive.of(grad.f64), 2e-6, c .. " channels")
        end
      end
    end)

    it("takes any strides, and batches without images", function()
      local x = tr.randn(2, 6, 5, 3)
      assert.is_true(tr.allclose(F[name](x, 2), F[name](naive.strided(x), 2), 0))
      local none = tr.zeros(0, 6, 5, 3)
      none.requires_grad = true
      local y = F[name](none, 2)
      assert.same({ 0, 3, 2, 3 }, y:shape())
      y:sum():backward()
      assert.same({ 0, 6, 5, 3 }, none.grad:shape())
    end)

    it("pads as TensorFlow does for \"same\", not at all for \"valid\"", function()
      local x = tr.randn(1, 7, 6, 2)
      assert.same({ 1, 4, 3, 2 }, F[name](x, 3, { stride = 2, padding = "same" }):shape())
      assert.same({ 1, 3, 2, 2 }, F[name](x, 3, { stride = 2, padding = "valid" }):shape())
      local explicit = F[name](x, options_of({ 3, 2, { 1, 1, 0, 1 } }, more))
      assert.is_true(tr.allclose(explicit, F[name](x, options_of({ 3, 2, "same" }, more)), 0))
    end)

    it("gives the same bits on any number of threads", function()
      local threads, first = tr.num_threads(), nil
      for _, n in ipairs { 1, 2, 8 } do
        tr.set_num_threads(n)
        tr.manual_seed(6)
        local x = tr.randn(3, 20, 20, 17)
        x.requires_grad = true
        local y = F[name](x, options_of(settings[2], more))
        y:backward(tr.randn(y:shape()))
        first = first or { y, x.grad }
        assert.is_true(tr.allclose(y, first[1], 0) and tr.allclose(x.grad, first[2], 0), n .. " threads")
      end
      tr.set_num_threads(threads)
    end)

    it("says what does not fit", function()
      local function message(...)
        local ok, text = pcall(F[name], ...)
        assert.is_false(ok)
        return text
      end
      local x = tr.zeros(1, 4, 5, 2)
      assert.matches(name .. ": x is {4,5}: images {N,H,W,C} are needed", message(tr.zeros(4, 5), 2))
      assert.matches(name .. ": x is u8 {1,4,4,1}", message(tr.zeros({ 1, 4, 4, 1 }, { dtype = "u8" }), 2))
      assert.matches(name .. ": window {5,5} is larger .*{1,4,5,2}", message(x, 5))
      assert.matches(name .. ": window {0,0}", message(x, 0))
      assert.matches(name .. ": padding {2,2,2,2} does not fit window {2,2}", message(x, 2, { padding = 2 }))
      assert.matches(name .. ": padding {%-1,", message(x, 2, { padding = -1 }))
      assert.matches(name .. ": .*k", message(x))
      assert.matches(name .. ": window {4611686018427387904", message(x, 1 << 62))
    end)
  end)
end

describe("max_pool2d", function()
  it("gives the gradient to the first of equals", function()
    local x = tr.ones(1, 2, 2, 3)
    x.requires_grad = true
    F.max_pool2d(x, 2):sum():backward()
    assert.same({ { { { 1, 1, 1 }, { 0, 0, 0 } }, { { 0, 0, 0 }, { 0, 0, 0 } } } }, x.grad:totable())
  end)

  it("lets a NaN win, but not the padding", function()
    for _, dtype in ipairs { "f32", "f64" } do
      local x = tr.full({ 1, 2, 2, 2 }, -5, { dtype = dtype })
      x[1][1][2][1] = 0 / 0
      local y = F.max_pool2d(x, 3, { padding = 1, stride = 1 }):slice(2, 1, 1):slice(3, 1, 1)
      local a, b = table.unpack(y:reshape(-1):totable())
      assert.is_true(a ~= a)
      assert.equal(-5, b)
    end
  end)

  it("takes windows as large as the image", function()
    local x = tr.randn(2, 40, 30, 3)
    x.requires_grad = true
    local y = F.max_pool2d(x, { 40, 30 })
    assert.is_true(tr.allclose(y:reshape(2, 3), (x:detach():reshape(2, 1200, 3):max(2)), 0))
    y:sum():backward()
    assert.equal(6, x.grad:sum():item())
    assert.error_matches(function() F.max_pool2d(tr.zeros(1, 300, 300, 1), 300) end, "has more than 65536 pixels")
  end)
end)

describe("global_avg_pool", function()
  it("is the mean over all pixels", function()
    for _, c in ipairs { 1, 3, 16, 17, 65 } do
      local x = naive.random({ 2, 3, 5, c }, c)
      local expected = naive.reduce(x, { 2, 3 }, false, function(list) return sum(list) / #list end)
      naive.check(F.global_avg_pool(naive.tensor(x)), expected, 1e-12)
      naive.check(F.global_avg_pool(naive.tensor(x, "f32")), expected, 1e-6)
      naive.check(F.global_avg_pool(naive.strided(naive.tensor(x))), expected, 1e-12)
    end
  end)

  it("has the gradient that differences show", function()
    local ok, report = tr.gradcheck(F.global_avg_pool, { tr.randn({ 2, 3, 4, 3 }, f64) })
    assert.is_true(ok, report)
    local x = tr.randn(2, 2, 5, 17)
    x.requires_grad = true
    F.global_avg_pool(x):sum():backward()
    assert.is_true(tr.allclose(x.grad, tr.full({ 2, 2, 5, 17 }, 0.1)))
  end)

  it("says what does not fit, and takes batches without images", function()
    assert.error_matches(function() F.global_avg_pool(tr.zeros(2, 3)) end, "global_avg_pool: x is {2,3}")
    assert.error_matches(function() F.global_avg_pool(tr.zeros(2, 0, 3, 4)) end, "{2,0,3,4}: an image without pixels")
    assert.error_matches(function() F.global_avg_pool(tr.zeros({ 2, 3, 3, 4 }, { dtype = "i64" })) end, "x is i64")
    assert.same({ 0, 4 }, F.global_avg_pool(tr.zeros(0, 3, 3, 4)):shape())
  end)
end)

describe("GlobalMaxPool", function()
  it("gives the largest value of every channel, which the gradient goes to", function()
    local x = tr.randn({ 3, 4, 5, 2 }, { dtype = "f64", requires_grad = true })
    local pool = tr.nn.GlobalMaxPool()
    local rows = x:reshape(3, 20, 2):totable()
    for n, image in ipairs(pool(x):totable()) do
      for c = 1, 2 do
        local largest = -math.huge
        for _, pixel in ipairs(rows[n]) do largest = math.max(largest, pixel[c]) end
        assert.equal(largest, image[c])
      end
    end
    local ok, report = tr.gradcheck(function(t) return pool(t) end, { x:detach() })
    assert.is_true(ok, report)
    assert.error_matches(function() pool(tr.zeros(2, 3)) end, "GlobalMaxPool: x is {2,3}, wanted images")
  end)
end)
