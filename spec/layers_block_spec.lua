--- Parts of residual blocks: squeeze and excitation, stochastic depth, the shortcut that pads.
local tr = require "texres"
local nn = tr.nn

describe("SqueezeExcitation", function()
  it("scales each channel by what the means of all say", function()
    tr.manual_seed(1)
    local layer, x = nn.SqueezeExcitation(8, { reduction = 4 }), tr.randn(3, 4, 5, 8)
    local mean = x:mean { 2, 3 }
    local scale = layer.excite(layer.squeeze(mean):clamp { min = 0 }):detach()
    scale = 1 / (1 + (-scale):exp())
    assert.is_true(tr.allclose(layer(x), x * scale:reshape(3, 1, 1, 8), 1e-6, 1e-6))
    assert.equal(2, layer.squeeze.weight:size(2))
  end)

  it("has the gradient of central differences", function()
    tr.manual_seed(2)
    local layer = nn.SqueezeExcitation(4, { reduction = 2 }):to "f64"
    local x = tr.randn({ 2, 3, 3, 4 }, { dtype = "f64", requires_grad = true })
    assert.is_true(tr.gradcheck(function(input) return layer(input) end, { x }))
  end)
end)

describe("StochasticDepth", function()
  it("leaves out whole images in training, none in evaluation, and keeps the mean", function()
    tr.manual_seed(3)
    local layer, x = nn.StochasticDepth(0.25), tr.ones(4000, 2, 2, 3)
    local y = layer(x)
    local of_image = y:reshape(4000, 12)
    assert.is_true(tr.allclose(of_image:min(2), of_image:max(2), 0, 0))
    assert.near(0.25, of_image:max(2):eq(0):to("f64"):mean():item(), 0.03)
    assert.near(1 / 0.75, y:max():item(), 1e-6)
    assert.same(x:totable(), layer:eval()(x):totable())
  end)
end)

describe("PadShortcut", function()
  it("takes every stride-th pixel and adds channels of zeros", function()
    local x = tr.arange(1, 36, { dtype = "f32" }):reshape(1, 3, 3, 4):slice(4, 1, 2)
    local y = nn.PadShortcut(2, 5, { stride = 2 })(x)
    assert.same({ 1, 2, 2, 5 }, y:shape())
    assert.same({ 33, 34, 0, 0, 0 }, y[1][2][2]:totable())
    assert.same(x:totable(), nn.PadShortcut(2, 2)(x):totable())
  end)

  it("has the gradient of central differences", function()
    local x = tr.randn({ 1, 3, 4, 2 }, { dtype = "f64", requires_grad = true })
    assert.is_true(tr.gradcheck(function(input) return nn.PadShortcut(2, 3, { stride = 2 })(input) end, { x }))
  end)

  it("refuses fewer channels than there are", function()
    assert.error_matches(function() nn.PadShortcut(4, 2) end, "4 channels do not go into 2")
  end)
end)
