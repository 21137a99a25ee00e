--- Convolution: csrc/autograd/conv2d.c and the algorithms of csrc/passes/conv*.c.
local tr = require "texres"
local naive = require "spec.naive"
local support = require "spec.support"
local cases = require "spec.conv2d_cases"
local F = tr.nn.functional

local kinds = { "winograd", "gemm", "depthwise" }

-- The definition, in Lua, on naive tensors. o: top, left (padding), p, q (output size), stride, dilation
-- {rows, columns}, groups.
local function convolve(x, w, bias, o)
  local r, s, c, k = table.unpack(w.shape)
  local function pixel(n, h, v, channel)
    if h < 1 or h > x.shape[2] or v < 1 or v > x.shape[3] then return 0 end
    return naive.get(x, { n, h, v, channel })
  end
  return naive.build({ x.shape[1], o.p, o.q, k }, function(i)
    local n, p, q, f = table.unpack(i)
    local first = (f - 1) // (k // o.groups) * c
    local sum = bias and bias[f] or 0
    for a = 1, r do
      for b = 1, s do
        for d = 1, c do
          local h = (p - 1) * o.stride[1] - o.top + (a - 1) * o.dilation[1] + 1
          local v = (q - 1) * o.stride[2] - o.left + (b - 1) * o.dilation[2] + 1
          sum = sum + naive.get(w, { a, b, d, f }) * pixel(n, h, v, first + d)
        end
      end
    end
    return sum
  end)
end

-- x, w, options of conv2d; what they mean: top, left, p, q
local small = {
  { { 2, 4, 5, 2 }, { 3, 3, 2, 3 }, {}, { 0, 0, 2, 3 } },
  { { 1, 4, 5, 2 }, { 3, 3, 2, 3 }, { padding = 1 }, { 1, 1, 4, 5 } },
  { { 1, 4, 5, 2 }, { 2, 3, 2, 3 }, { padding = { 2, 0, 1, 3 } }, { 2, 1, 5, 7 } },
  { { 1, 5, 6, 2 }, { 3, 3, 2, 1 }, { padding = "valid", stride = 2 }, { 0, 0, 2, 2 } },
  { { 1, 5, 6, 1 }, { 3, 3, 1, 2 }, { padding = "same", stride = 2 }, { 1, 0, 3, 3 } },
  { { 1, 5, 6, 1 }, { 2, 4, 1, 2 }, { padding = "same" }, { 0, 1, 5, 6 } },
  { { 1, 3, 3, 1 }, { 1, 1, 1, 2 }, { padding = "same", stride = 4 }, { 0, 0, 1, 1 } },
  { { 1, 7, 6, 2 }, { 3, 2, 2, 2 }, { dilation = { 3, 2 }, stride = { 1, 3 }, padding = 1 }, { 1, 1, 3, 2 } },
  { { 2, 4, 4, 4 }, { 3, 3, 2, 6 }, { groups = 2, padding = 1 }, { 1, 1, 4, 4 } },
  { { 2, 4, 4, 3 }, { 2, 2, 1, 3 }, { groups = 3 }, { 0, 0, 3, 3 } },
  { { 1, 3, 3, 2 }, { 2, 2, 1, 4 }, { groups = 2, stride = 2 }, { 0, 0, 1, 1 } },
}

local function pair(v) return type(v) == "table" and v or { v or 1, v or 1 } end

local function meaning(case)
  local options, o = case[3], case[4]
  return {
    top = o[1], left = o[2], p = o[3], q = o[4], stride = pair(options.stride), dilation = pair(options.dilation),
    groups = options.groups or 1,
  }
end

local function with(options, more)
  local result = {}
  for _, t in ipairs { options, more } do
    for k, v in pairs(t) do result[k] = v end
  end
  return result
end

describe("conv2d", function()
  it("is what its definition says", function()
    for i, case in ipairs(small) do
      local x, w, bias = naive.random(case[1], i), naive.random(case[2], 10 + i), naive.random({ case[2][4] }, 20 + i)
      local plain, biased = convolve(x, w, nil, meaning(case)), convolve(x, w, bias, meaning(case))
      for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-5 } do
        local tx, tw, tb = naive.tensor(x, dtype), naive.tensor(w, dtype), naive.tensor(bias, dtype)
        naive.check(F.conv2d(tx, tw, case[3]), plain, tolerance, "case " .. i)
        naive.check(F.conv2d(tx, tw, with(case[3], { bias = tb })), biased, tolerance, "case " .. i .. " with bias")
        local strided = F.conv2d(naive.strided(tx), naive.strided(tw), case[3])
        naive.check(strided, plain, tolerance, "case " .. i .. " strided")
      end
    end
  end)

  it("has the gradients that differences give", function()
    for i, case in ipairs(small) do
      local x, w = naive.tensor(naive.random(case[1], i)), naive.tensor(naive.random(case[2], 10 + i))
      local bias = naive.tensor(naive.random({ case[2][4] }, 20 + i))
      for _, t in ipairs { x, w, bias } do t.requires_grad = true end
      assert(tr.gradcheck(function(a, b, c) return F.conv2d(a, b, with(case[3], { bias = c })) end, { x, w, bias }))
    end
  end)

  it("gives only the gradients that are wanted", function()
    local x, w = tr.randn(1, 5, 5, 2), tr.randn(3, 3, 2, 4)
    w.requires_grad = true
    F.conv2d(x, w):sum():backward()
    assert.is_nil(x.grad)
    assert.same({ 3, 3, 2, 4 }, w.grad:shape())
  end)

  it("adds its gradient to what has come to the same input", function()
    for _, case in ipairs {
      { { 2, 8, 8, 16 }, { 3, 3, 16, 16 }, { padding = 1 } }, { { 2, 8, 8, 7 }, { 1, 1, 7, 7 } },
      { { 3, 6, 7, 16 }, { 3, 3, 1, 16 }, { padding = 1, groups = 16 } },
    } do
      local function gradients(dtype)
        tr.manual_seed(1)
        local x, w = tr.randn(case[1]):to(dtype), tr.randn(case[2]):to(dtype)
        x.requires_grad, w.requires_grad = true, true
        local h = x * 1 -- an input that is not a leaf
        local inner = F.conv2d(h, w, with(case[3], { residual = h, relu = true })) -- both of one call
        local y = F.conv2d(inner, w, case[3]) + inner + inner * inner              -- calls apart, before and after
        local total = (y * y):sum()
        total:backward()
        return { x.grad:to "f64", w.grad:to "f64" }
      end
      local exact, single = gradients "f64", gradients "f32"
      for i = 1, 2 do
        local scale = exact[i]:abs():max():item()
        assert((single[i] - exact[i]):abs():max():item() < 1e-5 * scale)
      end
      tr.manual_seed(2)
      local x, w = tr.randn(case[1]):to "f64", tr.randn(case[2]):to "f64" * 0.1
      w.requires_grad = true
      assert(tr.gradcheck(function(a)
        local h = x + a:mean()
        local inner = F.conv2d(h, a, with(case[3], { residual = h }))
        return F.conv2d(inner, a, case[3]) + inner
      end, { w }))
    end
  end)

  describe("in f32", function()
    for _, kind in ipairs(kinds) do
      it("agrees with the definition through " .. kind, function()
        for i, case in ipairs(cases[kind]) do
          local plan = tr.conv2d_plan(tr.empty(case[1]), tr.empty(case[2]), case[3] or {})
          for pass, choice in pairs(plan) do
            assert.equal(kind, choice.algorithm, ("%s case %d, %s: %s"):format(kind, i, pass, choice.why))
          end
          local e = cases.error(case)
          assert(e < 2e-5, ("%s case %d: error %g"):format(kind, i, e))
        end
      end)
    end

    it("keeps the bound of winograd's error for any number of channels", function()
      -- csrc/passes/conv_plan.c promises 2e-5 sqrt(terms) for numbers of variance 1
      for _, c in ipairs { 32, 128, 512 } do
        for stride = 1, 2 do
          local case = { { 4, 8 * stride, 8 * stride, c }, { 3, 3, c, 32 }, { padding = 1, stride = stride } }
          local x, w = tr.randn(case[1]), tr.randn(case[2])
          assert.equal("winograd", tr.conv2d_plan(x, w, case[3]).forward.algorithm)
          local exact = F.conv2d(x:to "f64", w:to "f64", case[3])
          local e = (F.conv2d(x, w, case[3]):to "f64" - exact):abs():max():item()
          assert(e < 2e-5 * math.sqrt(9 * c), ("%d channels, stride %d: %g"):format(c, stride, e))
        end
      end
      local plan = tr.conv2d_plan(tr.empty(4, 8, 8, 513), tr.empty(3, 3, 513, 32), { padding = 1 })
      assert.equal("gemm", plan.forward.algorithm)
    end)

    it("takes gemm for images so wide that a row of winograd's tiles would fill memory", function()
      local x = tr.zeros(1, 1, 1, 1):expand(1, 16, 1 << 20, 64)
      assert.equal("gemm", tr.conv2d_plan(x, tr.empty(3, 3, 64, 64), { padding = 1 }).forward.algorithm)
    end)

    it("gives the same bits for any number of threads", function()
      local before, first = tr.num_threads(), {}
      finally(function() tr.set_num_threads(before) end)
      for _, threads in ipairs { 1, 2, 3, 8 } do
        tr.set_num_threads(threads)
        for _, kind in ipairs(kinds) do
          for i, case in ipairs(cases[kind]) do
            local key, print = kind .. i, cases.fingerprint(case)
            first[key] = first[key] or print
            assert.equal(first[key], print, ("%s case %d with %d threads"):format(kind, i, threads))
          end
        end
      end
    end)

    it("keeps the weights' packed forms only while they are the same", function()
      for _, kind in ipairs { "winograd", "gemm" } do
        local shape, options = cases[kind][4][1], cases[kind][4][3] or {}
        local x, w = tr.randn(shape), tr.randn(cases[kind][4][2])
        w.requires_grad = true
        local fresh = w:detach():clone()
        local function kept() return tr.no_grad(F.conv2d, x, w, options) end
        local first = kept()
        assert.is_true(tr.allclose(first, kept(), 0, 0))
        assert.is_true(tr.allclose(first, F.conv2d(x, fresh, options), 0, 0))
        for _, change in ipairs {
          function() w[2] = 3 end, function() w:fill(2) end, function() w:detach():copy_from(fresh) end,
        } do
          tr.no_grad(change)
          assert.is_true(tr.allclose(kept(), F.conv2d(x, w:detach():clone(), options), 0, 0))
        end
        assert.is_true(tr.allclose(first, kept(), 0, 0))
      end
    end)

    it("lets packed forms go with the weights", function()
      local x = tr.randn(2, 16, 16, 32)
      collectgarbage()
      local before = tr.live_bytes()
      local w = tr.randn(3, 3, 32, 32)
      tr.no_grad(F.conv2d, x, w, { padding = 1 }):free()
      assert(tr.live_bytes() > before + 36 * 32 * 32 * 4)
      w:free()
      assert.equal(before, tr.live_bytes())
    end)

    for _, isa in ipairs { "ref", "avx2", "avx512", "neon" } do
      it("agrees with the definition on " .. isa, function()
        local ok, output = support.run_lua([[
          local cases = require "spec.conv2d_cases"
          for _, kind in ipairs { "winograd", "gemm", "depthwise" } do
            for i, case in ipairs(cases[kind]) do
              local e = cases.error(case)
              assert(e < 2e-5, ("%s case %d: error %g"):format(kind, i, e))
            end
          end
          print(require "texres".isa())
        ]], { env = { TEXRES_ISA = isa } })
        if not ok and output:match "TEXRES_ISA" then return pending(isa .. " is not on this machine") end
        assert(ok, output)
        assert.equal(isa, output:match "^(%S+)")
      end)
    end
  end)

  describe("agrees with PyTorch:", function()
    local stored = assert(require("texres.safetensors").load "spec/fixtures/conv.safetensors")
    for name, options in pairs {
      plain = {}, padded = { padding = 1 }, uneven = { padding = { 2, 0, 1, 3 } }, stride = { padding = 1, stride = 2 },
      strides = { stride = { 2, 3 } }, same_stride = { padding = "same", stride = 2 },
      dilation = { padding = "same", dilation = 2 }, dilations = { dilation = { 2, 3 }, stride = { 1, 2 } },
      pointwise = {}, pointwise_stride = { stride = 2 }, groups = { padding = 1, groups = 3 },
      depthwise = { padding = 1, groups = 5 },
      depthwise_stride = { padding = 1, groups = 4, stride = 2 }, multiplier = { groups = 3 },
      one_channel = { padding = "same", stride = 2 }, wide_stride = { padding = 1, stride = 9 },
      winograd = { padding = 1 }, winograd_stride = { padding = 1, stride = 2 },
    } do
      it(name, function()
        for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-3 } do
          local t = {}
          for _, key in ipairs { "x", "w", "bias" } do
            if stored[name .. "." .. key] then
              t[key] = stored[name .. "." .. key]:to(dtype):clone()
              t[key].requires_grad = true
            end
          end
          local y = F.conv2d(t.x, t.w, with(options, { bias = t.bias }))
          assert(tr.allclose(y:detach():to "f64", stored[name .. ".y"], tolerance, tolerance), "y in " .. dtype)
          y:backward(stored[name .. ".dy"]:to(dtype))
          for key, input in pairs(t) do
            assert(tr.allclose(input.grad:to "f64", stored[name .. ".grad." .. key], tolerance, tolerance),
              "gradient to " .. key .. " in " .. dtype)
          end
        end
      end)
    end
  end)

  it("takes empty batches", function()
    for _, stride in ipairs { 1, 2 } do
      local x, w = tr.randn(0, 8, 8, 3), tr.randn(3, 3, 3, 4)
      x.requires_grad, w.requires_grad = true, true
      local y = F.conv2d(x, w, { stride = stride, padding = 1 })
      assert.same({ 0, 8 // stride, 8 // stride, 4 }, y:shape())
      y:sum():backward()
      assert.same({ 0, 8, 8, 3 }, x.grad:shape())
      assert.equal(0, w.grad:abs():sum():item())
    end
  end)

  it("adds up nothing to the bias", function()
    local y = F.conv2d(tr.zeros(2, 4, 4, 0), tr.zeros(3, 3, 0, 2), { bias = tr.tensor { 1, 2 } })
    assert.same({ { 1, 2 }, { 1, 2 } }, y[1][2]:totable())
    assert.same({ 2, 4, 4, 0 }, F.conv2d(tr.ones(2, 4, 4, 3), tr.zeros(1, 1, 3, 0)):shape())
  end)

  it("lets a NaN through", function()
    local x = tr.zeros(2, 16, 16, 32)
    x[1][3][3][5] = 0 / 0
    local y = F.conv2d(x, tr.ones(3, 3, 32, 32), { padding = 1 })
    assert(y[1][3][3][1]:item() ~= y[1][3][3][1]:item())
    assert.equal(0, y[2]:abs():sum():item())
  end)

  describe("says what is wrong:", function()
    local x, w = tr.zeros(8, 64, 64, 3), tr.zeros(3, 3, 4, 16)
    local function fails(message, ...)
      local arguments = table.pack(...)
      local ok, text = pcall(function() return F.conv2d(table.unpack(arguments, 1, arguments.n)) end)
      assert.is_false(ok)
      assert.matches("spec/conv2d_spec.lua:%d+: ", text)
      assert.matches(message, text, 1, true)
    end

    it("channels", function()
      fails("conv2d: input has 3 channels, weight wants 4 (input {8,64,64,3}, weight {3,3,4,16})", x, w)
    end)
    it("groups", function()
      fails("conv2d: 2 groups must divide the 3 input and 16 output channels (input {8,64,64,3}, weight {3,3,4,16})",
        x, w, { groups = 2 })
      fails("conv2d: input has 3 channels in 3 groups, weight wants 4 in each (input {8,64,64,3}, weight {3,3,4,15})",
        x, tr.zeros(3, 3, 4, 15), { groups = 3 })
    end)
    it("rank", function()
      fails("conv2d: input must be {N,H,W,C}, got {64,64,3}", x[1], w)
      fails("conv2d: weight must be {R,S,C,K}, got {3,3,4}", x, tr.zeros(3, 3, 4))
      fails("conv2d: bias must be {5}, got {4} (weight {3,3,3,5})", x, tr.zeros(3, 3, 3, 5), { bias = tr.zeros(4) })
    end)
    it("dtype", function()
      fails("conv2d: input is f32, weight is f64: all must be f32, or all f64", x,
        tr.zeros({ 3, 3, 3, 4 }, { dtype = "f64" }))
      fails("conv2d: input is u8, weight is f32", x:to "u8", tr.zeros(3, 3, 3, 4))
    end)
    it("size", function()
      fails("conv2d: the kernel does not fit into the padded input (input {1,2,2,3}, weight {3,3,3,4})",
        tr.zeros(1, 2, 2, 3), tr.zeros(3, 3, 3, 4))
      fails("conv2d: the kernel does not fit", tr.zeros(1, 0, 4, 3), tr.zeros(1, 1, 3, 4))
    end)
    it("parameters", function()
      local ok = tr.zeros(3, 3, 3, 4)
      fails("conv2d: stride 0 is not within 1..2147483648", x, ok, { stride = 0 })
      fails("conv2d: dilation -1 is not within 1..2147483648", x, ok, { dilation = -1 })
      fails("conv2d: padding -1 is not within 0..2147483648", x, ok, { padding = -1 })
      fails("conv2d: groups 0 is not within", x, ok, { groups = 0 })
      fails("conv2d: padding 9223372036854775807 is not within", x, ok, { padding = math.maxinteger })
    end)
    it("more than memory can hold", function()
      fails("conv2d", tr.zeros(1, 1, 1, 1), tr.zeros(1, 1, 1, 1), { padding = 1 << 31 })
    end)
  end)
end)
