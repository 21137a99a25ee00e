--- Transposed convolution: csrc/autograd/conv_transpose2d.c, nn.ConvTranspose2d.
local tr = require "texres"
local naive = require "spec.naive"
local nn = tr.nn
local F = nn.functional

-- The definition: every pixel of x adds its window. `o`: stride, dilation {rows, columns}; padding {top, bottom, left,
-- right}; output_padding, groups.
local function definition(x, w, bias, o)
  local n, h, width, c = table.unpack(x.shape)
  local r, s, k_of_group = table.unpack(w.shape)
  local k, c_of_group = k_of_group * o.groups, c // o.groups
  local p = (h - 1) * o.stride[1] + o.dilation[1] * (r - 1) + 1 - o.padding[1] - o.padding[2] + o.output_padding
  local q = (width - 1) * o.stride[2] + o.dilation[2] * (s - 1) + 1 - o.padding[3] - o.padding[4] + o.output_padding
  return naive.build({ n, p, q, k }, function(at)
    local sum, group = bias[at[4]], (at[4] - 1) // k_of_group
    for i = 1, h do
      for j = 1, width do
        for a = 1, r do
          for b = 1, s do
            local row = (i - 1) * o.stride[1] - o.padding[1] + (a - 1) * o.dilation[1] + 1
            local column = (j - 1) * o.stride[2] - o.padding[3] + (b - 1) * o.dilation[2] + 1
            if row == at[2] and column == at[3] then
              for channel = group * c_of_group + 1, (group + 1) * c_of_group do
                sum = sum + naive.get(x, { at[1], i, j, channel })
                  * naive.get(w, { a, b, at[4] - group * k_of_group, channel })
              end
            end
          end
        end
      end
    end
    return sum
  end)
end

local cases = {
  { { 2, 3, 4, 4 }, { 3, 3, 3, 4 } },
  { { 1, 4, 3, 2 }, { 2, 2, 3, 2 }, { stride = { 2, 2 } } },
  { { 1, 3, 3, 4 }, { 3, 2, 2, 4 }, { stride = { 2, 1 }, padding = { 1, 0, 1, 1 }, groups = 2 } },
  { { 1, 2, 3, 3 }, { 3, 3, 1, 3 }, { stride = { 2, 2 }, padding = { 1, 1, 1, 1 }, output_padding = 1, groups = 3 } },
  { { 1, 3, 2, 2 }, { 2, 3, 2, 2 }, { dilation = { 2, 3 }, stride = { 3, 2 }, output_padding = 1 } },
}

describe("conv_transpose2d", function()
  it("follows its definition, and has the gradients that differences show", function()
    for number, case in ipairs(cases) do
      local x_shape, w_shape, given = table.unpack(case)
      local o = {
        stride = { 1, 1 }, dilation = { 1, 1 }, padding = { 0, 0, 0, 0 }, output_padding = 0, groups = 1,
      }
      for name, value in pairs(given or {}) do o[name] = value end
      local x, w = naive.random(x_shape, 1, -1, 1), naive.random(w_shape, 2, -1, 1)
      local bias = naive.random({ w_shape[3] * o.groups }, 3, -1, 1)
      local expected = definition(x, w, bias, o)
      local function f(a, b, c)
        return F.conv_transpose2d(a, b, {
          bias = c, stride = o.stride, padding = o.padding, dilation = o.dilation, groups = o.groups,
          output_padding = o.output_padding,
        })
      end
      local gradients = {}
      for dtype, tolerance in pairs { f64 = 1e-12, f32 = 1e-5 } do
        local inputs = { naive.tensor(x, dtype), naive.tensor(w, dtype), naive.tensor(bias, dtype) }
        for _, t in ipairs(inputs) do t.requires_grad = true end
        local y = f(table.unpack(inputs))
        naive.check(y, expected, tolerance, "case " .. number)
        y:backward(naive.tensor(naive.random(y:shape(), 4, -1, 1), dtype))
        gradients[dtype] = { inputs[1].grad, inputs[2].grad, inputs[3].grad }
      end
      for i = 1, 3 do naive.check(gradients.f32[i], naive.of(gradients.f64[i]), 1e-4) end
      local ok, report = tr.gradcheck(f, { naive.tensor(x), naive.tensor(w), naive.tensor(bias) })
      assert.is_true(ok, report)
    end
  end)

  it("is the gradient of a convolution's input", function()
    tr.manual_seed(1)
    local images, w = tr.randn({ 2, 9, 8, 5 }, { requires_grad = true }), tr.randn(3, 3, 5, 16)
    local y = F.conv2d(images, w, { stride = 2, padding = 1 })
    local dy = tr.randn(table.unpack(y:shape()))
    y:backward(dy)
    local back = F.conv_transpose2d(dy, w, { stride = 2, padding = 1, output_padding = { 0, 1 } })
    assert.is_true(tr.allclose(images.grad, back, 1e-5, 1e-5))
  end)

  it("says what does not fit", function()
    local x, w = tr.zeros(1, 4, 4, 3), tr.zeros(3, 3, 2, 3)
    local function message(pattern, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() F.conv_transpose2d(table.unpack(arguments)) end, "conv_transpose2d: " .. pattern)
    end
    message("x is {4,3}", tr.zeros(4, 3), w)
    for _, shape in ipairs { { 2, 0, 4, 3 }, { 2, 4, 0, 3 } } do
      message("x is {2,.,.,3}: an image without pixels gives none", tr.zeros(shape), w)
    end
    message("x is i64", tr.zeros({ 1, 4, 4, 3 }, { dtype = "i64" }), w)
    message("w is f64, x is f32", x, tr.zeros({ 3, 3, 2, 3 }, { dtype = "f64" }))
    message("weight must be {R,S,K/groups,C}, got {3,3}", x, tr.zeros(3, 3))
    message("input has 3 channels, weight wants 4", x, tr.zeros(3, 3, 2, 4))
    message("bias", x, w, { bias = tr.zeros(3) })
    message("padding must be numbers", x, w, { padding = "same" })
    message("padding .* is not within", x, w, { padding = -1 })
    message("the padding leaves no pixel", x, w, { padding = 3 })
    message("output_padding 2 must be at least 0 and less than", x, w, { stride = 2, output_padding = 2 })
    message("output_padding .1 must be at least 0", x, w, { stride = 2, output_padding = -1 })
    message("output_padding 1 must be .* less than", x, w, { dilation = 3, output_padding = 1 })
    message("0 groups", x, w, { groups = 0 })
    message("2 groups must divide", x, w, { groups = 2 })
    message("stride and dilation must be at least 1", x, w, { stride = 0 })
    for _, name in ipairs { "stride", "dilation", "groups", "padding" } do
      message("", x, w, { [name] = math.maxinteger })
      message("", x, w, { [name] = math.mininteger })
    end
  end)

  it("takes no images", function()
    local x = tr.zeros({ 0, 4, 4, 3 }, { requires_grad = true })
    local w = tr.ones({ 3, 3, 2, 3 }, { requires_grad = true })
    local y = F.conv_transpose2d(x, w)
    assert.same({ 0, 6, 6, 2 }, y:shape())
    y:sum():backward()
    assert.equal(0, w.grad:abs():sum():item())
  end)
end)

describe("ConvTranspose2d", function()
  it("brings an image back to the size that a convolution made smaller", function()
    local x = tr.randn(2, 12, 9, 4)
    local layer = nn.ConvTranspose2d(4, 6, 4, { stride = 2, padding = 1 })
    assert.same({ 2, 24, 18, 6 }, layer(x):shape())
    assert.same({ 4, 4, 6, 4 }, layer.weight:shape())
    assert.equal(12 * 9 * 2 * 4 * 16 * 6, layer:multiply_adds(x))
    assert.is_nil(nn.ConvTranspose2d(4, 6, 4, { bias = false }).bias)
  end)

  it("adds rows and columns apart from each other", function()
    local layer = nn.ConvTranspose2d(4, 6, 3, { stride = { 2, 3 }, output_padding = { 0, 2 } })
    local x = tr.randn(2, 3, 5, 4)
    assert.same({ 2, 7, 17, 6 }, layer(x):shape())
    local twin = nn.from_config(layer:config()):load_state_dict(layer:state_dict())
    assert.same(layer(x):totable(), twin(x):totable())
    for problem, options in pairs {
      ["output_padding 2 is not less than the stride 2"] = { stride = { 2, 3 }, output_padding = { 2, 0 } },
      ["output_padding, rows is %-1, wanted a whole number of at least 0"] = { output_padding = { -1, 0 } },
      ["padding is \"same\", wanted whole numbers of at least 0: one, or {top, bottom, left, right}$"] = {
        padding = "same",
      },
    } do
      assert.error_matches(function() nn.ConvTranspose2d(4, 6, 3, options) end, "ConvTranspose2d: " .. problem)
    end
  end)
end)

describe("StandardizedConv2d", function()
  it("calls itself by its name, and wants inputs that can deviate", function()
    assert.error_matches(function() nn.StandardizedConv2d(4) end, "StandardizedConv2d: c_out is nil")
    assert.equal("StandardizedConv2d(4, 2, 3)", nn.StandardizedConv2d(4, 2, 3, { stride = 1 }):describe())
    for _, options in ipairs { { 1, 2, 1 }, { 4, 8, 1, { groups = 4 } } } do
      assert.error_matches(function() nn.StandardizedConv2d(table.unpack(options)) end, "each output has one input")
    end
  end)

  it("gives filters of mean 0 and variance 1, whatever its weight is, and is neither joined nor folded", function()
    tr.manual_seed(2)
    local layer = nn.StandardizedConv2d(3, 4, 3, { padding = 1 })
    local x = tr.randn(2, 5, 5, 3)
    local y = layer(x):detach()
    local state = layer:state_dict()
    state.weight = state.weight * 7 + 2
    layer:load_state_dict(state)
    assert.is_true(tr.allclose(layer(x), y, 1e-3, 1e-3))
    local net = nn.Sequential { layer, nn.BatchNorm(4), nn.ReLU() }:eval()
    assert.is_true(tr.allclose(net(x), net[2](layer(x)):clamp { min = 0 }, 1e-6, 1e-6))
    assert.is_true(tr.allclose(net:clone():fuse()(x), net(x), 1e-5, 1e-6))
  end)
end)
