--- Images in another size: csrc/autograd/resize.c, csrc/passes/resize.c, nn.Upsample, nn.AdaptiveAvgPool2d. Values of
-- PyTorch: spec/layers_pytorch_spec.lua.
local tr = require "texres"
local naive = require "spec.naive"
local nn = tr.nn
local F = nn.functional

-- By the definitions, one dimension at a time: the weight that element `j` of `size` has in element `i` of the result,
-- both from 0 on.
local weights = {
  upsample_bilinear2d = function(size, factor)
    return size * factor, function(i, j)
      local place = math.min(math.max((i + 0.5) / factor - 0.5, 0), size - 1)
      return math.max(0, 1 - math.abs(place - j))
    end
  end,
  adaptive_avg_pool2d = function(size, out)
    return out, function(i, j)
      local first, stop = math.floor(i * size / out), math.ceil((i + 1) * size / out)
      return j >= first and j < stop and 1 / (stop - first) or 0
    end
  end,
}

local function definition(name, x, sizes)
  local n, h, w, c = table.unpack(x.shape)
  local p, by_rows = weights[name](h, sizes[1])
  local q, by_columns = weights[name](w, sizes[2])
  return naive.build({ n, p, q, c }, function(at)
    local sum = 0
    for i = 1, h do
      for j = 1, w do
        local weight = by_rows(at[2] - 1, i - 1) * by_columns(at[3] - 1, j - 1)
        if weight ~= 0 then sum = sum + weight * naive.get(x, { at[1], i, j, at[4] }) end
      end
    end
    return sum
  end)
end

local shapes = { { 2, 3, 5, 3 }, { 1, 1, 1, 17 }, { 1, 7, 1, 1 }, { 1, 2, 6, 16 } }
local all_sizes = { { 1, 1 }, { 2, 2 }, { 3, 4 }, { 5, 1 }, { 8, 7 } }

for name in pairs(weights) do
  describe(name, function()
    it("follows its definition, and has the gradients that differences show", function()
      for _, shape in ipairs(shapes) do
        for _, sizes in ipairs(all_sizes) do
          local x, gradients = naive.random(shape, 1), {}
          local expected = definition(name, x, sizes)
          for dtype, tolerance in pairs { f64 = 1e-12, f32 = 2e-6 } do
            local t = naive.tensor(x, dtype)
            t.requires_grad = true
            local y = F[name](t, sizes)
            naive.check(y, expected, tolerance, dtype)
            y:backward(naive.tensor(naive.random(y:shape(), 2), dtype))
            gradients[dtype] = t.grad
          end
          naive.check(gradients.f32, naive.of(gradients.f64), 1e-5)
          local ok, report = tr.gradcheck(function(t) return F[name](t, sizes) end, { naive.tensor(x) })
          assert.is_true(ok, report)
        end
      end
    end)

    it("keeps what is not finite to the pixels that it is part of, forward and backward", function()
      local shape = { 1, 4, 5, 2 }
      for _, value in ipairs { math.huge, -math.huge, 0 / 0 } do
        for _, sizes in ipairs(all_sizes) do
          local x = naive.random(shape, 3)
          x[15] = value -- row 2, column 3
          naive.check(F[name](naive.tensor(x, "f32"), sizes), definition(name, x, sizes), 1e-5)
          local t, finite = tr.zeros(shape, { requires_grad = true }), tr.zeros(shape, { requires_grad = true })
          local dy = tr.zeros(F[name](t, sizes):shape())
          dy[1][1][1][1] = 1
          F[name](finite, sizes):backward(dy)
          dy[1][1][1][1] = value
          F[name](t, sizes):backward(dy)
          local expected = naive.map(function(v) return v == 0 and 0 or value end, naive.of(finite.grad))
          naive.check(t.grad, expected)
        end
      end
    end)

    it("takes no images, and says what does not fit", function()
      for _, shape in ipairs { { 0, 4, 4, 3 }, { 2, 4, 4, 0 } } do
        local x = tr.zeros(shape, { requires_grad = true })
        local y = F[name](x, 3)
        assert.equal(0, y:numel())
        y:sum():backward()
        assert.same(shape, x.grad:shape())
      end
      local function message(pattern, ...)
        local arguments = table.pack(...)
        assert.error_matches(function() F[name](table.unpack(arguments)) end, name .. ": " .. pattern)
      end
      local x = tr.zeros(1, 4, 4, 3)
      for _, dtype in ipairs { "u8", "i64" } do
        message("x is " .. dtype .. " {1,4,4,3}: f32 or f64 is needed", x:to(dtype), 2)
      end
      message("x is {4,3}: images {N,H,W,C} are needed", tr.zeros(4, 3), 2)
      for _, size in ipairs { 0, -1, math.maxinteger, math.mininteger } do message(".*not within 1%.%.", x, size) end
      message(".*is more than memory can address", x, 1 << 31)
    end)
  end)
end

describe("an image without pixels", function()
  it("has no mean, and is enlarged to one without pixels", function()
    for _, shape in ipairs { { 2, 0, 4, 3 }, { 2, 4, 0, 3 } } do
      for size = 1, 2 do
        assert.error_matches(function() nn.AdaptiveAvgPool2d(size)(tr.zeros(shape)) end, "pixels has no mean")
      end
      for _, mode in ipairs { "nearest", "bilinear" } do
        local x = tr.zeros(shape, { requires_grad = true })
        local y = nn.Upsample(2, { mode = mode })(x)
        assert.same({ 2, 2 * shape[2], 2 * shape[3], 3 }, y:shape())
        y:sum():backward()
        assert.same(shape, x.grad:shape())
      end
    end
  end)
end)
