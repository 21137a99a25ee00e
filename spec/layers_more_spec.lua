--- Layers that are made of others: resizing, transposed, standardized and separable convolutions, norms of rows and
-- images, products and differences of branches. Their values are PyTorch's: spec/layers_pytorch_spec.lua.
local tr = require "texres"
local nn = tr.nn

local IMAGE = { 2, 4, 5, 4 }

local layers = {
  upsample = function() return nn.Upsample(2) end,
  upsample_bilinear = function() return nn.Upsample({ 2, 3 }, { mode = "bilinear" }) end,
  adaptive = function() return nn.AdaptiveAvgPool2d { 3, 2 } end,
  adaptive_one = function() return nn.AdaptiveAvgPool2d(1) end,
  transposed = function() return nn.ConvTranspose2d(4, 3, 3, { stride = 2, padding = 1, output_padding = 1 }) end,
  transposed_plain = function() return nn.ConvTranspose2d(4, 2, { 2, 3 }, { bias = false }) end,
  standardized = function() return nn.StandardizedConv2d(4, 3, 3, { padding = 1 }) end,
  separable = function() return nn.DepthwiseSeparable(4, 6, { stride = 2 }) end,
  layer_norm = function() return nn.LayerNorm(4) end,
  image_standardization = function() return nn.ImageStandardization() end,
  multiply = function()
    return nn.Multiply { nn.Conv2d(4, 4, 1), nn.Sequential { nn.Conv2d(4, 1, 1), nn.Sigmoid() }, nn.Identity() }
  end,
  subtract = function() return nn.Subtract { nn.Identity(), nn.Conv2d(4, 4, 1) } end,
}

for name, make in pairs(layers) do
  describe(name, function()
    it("has the gradient of central differences, for its input and its parameters", function()
      tr.manual_seed(1)
      local net = nn.Sequential { make() }:to "f64":eval()
      local x = tr.randn(IMAGE, { dtype = "f64", requires_grad = true })
      local inputs = { x }
      for _, p in net:named_parameters() do inputs[#inputs + 1] = p end
      local ok, report = tr.gradcheck(function() return net(x) end, inputs)
      assert.is_true(ok, report)
    end)

    it("is built again from its description, and is the same watched, planned and without gradients", function()
      tr.manual_seed(2)
      local net, x = nn.Sequential { make() }:eval(), tr.randn(IMAGE)
      local y = net(x)
      local twin = nn.from_config(net:config()):load_state_dict(net:state_dict()):eval()
      assert.same(y:totable(), twin(x):totable())
      assert.same(y:totable(), tr.no_grad(net, x):totable())
      local seen = 0
      local watch <close> = net:watch(function() seen = seen + 1 end) -- luacheck: ignore
      assert.is_true(tr.allclose(y, net(x), 1e-6, 1e-6))
      assert.is_true(seen > 0)
      assert.is_truthy(net:draw(os.tmpname(), IMAGE))
    end)
  end)
end

describe("these layers", function()
  it("make the shapes that they say", function()
    local x = tr.rand(table.unpack(IMAGE))
    for name, shape in pairs {
      upsample = { 2, 8, 10, 4 }, upsample_bilinear = { 2, 8, 15, 4 }, adaptive = { 2, 3, 2, 4 },
      adaptive_one = { 2, 1, 1, 4 }, transposed = { 2, 8, 10, 3 }, transposed_plain = { 2, 5, 7, 2 },
      separable = { 2, 2, 3, 6 },
    } do
      assert.same(shape, layers[name]()(x):shape(), name)
    end
  end)

  it("say what does not fit", function()
    local function refused(pattern, f, ...)
      local arguments = table.pack(...)
      assert.error_matches(function() f(table.unpack(arguments, 1, arguments.n)) end, pattern)
    end
    refused("LayerNorm: x is {2,3}, wanted {...,4}", nn.LayerNorm(4), tr.rand(2, 3))
    local of_images = {
      Upsample = nn.Upsample(2), GlobalMaxPool = nn.GlobalMaxPool(), PadShortcut = nn.PadShortcut(3, 4),
      ImageStandardization = nn.ImageStandardization(),
    }
    for name, layer in pairs(of_images) do
      for shown, x in pairs { ["{2,3}"] = tr.rand(2, 3), ["{1,2,2,2,3}"] = tr.rand(1, 2, 2, 2, 3), ["5"] = 5 } do
        refused(name .. ": x is " .. shown .. ", wanted images {N,H,W,", layer, x)
      end
    end
    refused("PadShortcut: x is {1,2,2,2}, wanted images {N,H,W,3}", of_images.PadShortcut, tr.rand(1, 2, 2, 2))
    refused("LayerNorm: x is \"x\", wanted {...,4}", nn.LayerNorm(4), "x")
    refused("LayerNorm: x is {}, wanted {...,4}", nn.LayerNorm(4), tr.tensor(3))
    assert.same({ 4 }, nn.LayerNorm(4)(tr.rand(4)):shape())
    refused("StochasticDepth: x is {}, wanted {N,...}", nn.StochasticDepth(), tr.tensor(3))
    refused("DepthwiseSeparable: c_in is nil", nn.DepthwiseSeparable)
    refused("DepthwiseSeparable: kernel is 2, wanted an odd number", nn.DepthwiseSeparable, 4, 6, { kernel = 2 })
    refused('Upsample: mode is "cubic", wanted "nearest" or "bilinear"', nn.Upsample, 2, { mode = "cubic" })
    refused("conv_transpose2d: input has 3 channels", nn.ConvTranspose2d(4, 2, 3), tr.rand(1, 2, 2, 3))
    local wide = { output_padding = 2, stride = 2 }
    refused("output_padding 2 is not less than the stride", nn.ConvTranspose2d, 4, 2, 3, wide)
    refused("Multiply: it has 1 items, at least 2 are needed", nn.Multiply { nn.Identity() }, tr.rand(2, 3))
    refused("Subtract: it has 3 items, 2 are needed", nn.Subtract { nn.ReLU(), nn.ReLU(), nn.ReLU() }, tr.rand(2, 3))
  end)

  it("are saved as they are now: a separable convolution also folded, and with its checkpoint", function()
    local net = nn.Sequential { nn.DepthwiseSeparable(4, 6), nn.GlobalAvgPool(), nn.Linear(6, 2) }
    net[1].checkpoint = true
    assert.is_true(nn.from_config(net:config())[1].checkpoint)
    local folded, x = net:eval():fuse(), tr.rand(table.unpack(IMAGE))
    local twin = nn.from_config(folded:config()):load_state_dict(folded:state_dict()):eval()
    assert.same(tr.no_grad(folded, x):totable(), tr.no_grad(twin, x):totable())
  end)

  it("multiply with shapes that broadcast: a gate of pixels or of channels", function()
    local x = tr.rand(table.unpack(IMAGE))
    local gate = nn.Sequential { nn.AdaptiveAvgPool2d(1), nn.Sigmoid() }
    local y = tr.no_grad(nn.Multiply { nn.Identity(), gate }, x)
    local scale = 1 / (1 + (-x:mean({ 2, 3 }, true)):exp())
    assert.is_true(tr.allclose(y, x * scale, 1e-6, 1e-6))
  end)
end)
