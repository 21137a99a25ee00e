--- Layer functions against what PyTorch computed for them: spec/fixtures/layers.safetensors, written by make_layers.py.
local tr = require "texres"
local F = tr.nn.functional

local stored = assert(require("texres.safetensors").load("spec/fixtures/layers.safetensors"))

-- case; inputs that get a gradient, in order; function of them (as the case's f64 or f32 tensors by name)
local function unary(name, options)
  return { "x" }, function(t) return F[name](t.x, options) end
end

local function class_loss(name, options)
  return { "logits" }, function(t)
    local o = {}
    for k, v in pairs(options or {}) do o[k] = v end
    if o.weight then o.weight = stored.weight:to(t.logits.dtype) end
    if o.alpha then o.alpha = stored.weight:to(t.logits.dtype) end
    return F[name](t.logits, t.labels, o)
  end
end

local function batch_norm(training)
  return { "x", "gamma", "beta" }, function(t)
    return F.batch_norm(t.x, t.gamma, t.beta,
      { running_mean = t.running_mean, running_var = t.running_var, training = training })
  end
end

local cases = {
  batch_norm_training = { batch_norm(true) },
  batch_norm_evaluation = { batch_norm(false) },
  batch_norm_features = { batch_norm(true) },
  linear = { { "x", "w", "b" }, function(t) return F.linear(t.x, t.w, t.b) end },
  relu = { unary "relu" },
  leaky_relu = { unary "leaky_relu" },
  silu = { unary "silu" },
  softplus = { unary "softplus" },
  elu = { unary "elu" },
  elu_alpha = { unary("elu", { alpha = 0.3 }) },
  hard_swish = { unary "hard_swish" },
  group_norm = { { "x", "gamma", "beta" }, function(t) return F.group_norm(t.x, t.gamma, t.beta, 3) end },
  gelu = { unary "gelu" },
  gelu_tanh = { unary("gelu", { approximate = "tanh" }) },
  softmax = { unary "softmax" },
  softmax_first = { unary("softmax", { dim = 1 }) },
  log_softmax = { unary "log_softmax" },
  max_pool2d = { unary("max_pool2d", { k = 2 }) },
  max_pool2d_overlap = { unary("max_pool2d", { k = 3, stride = 2, padding = 1 }) },
  max_pool2d_ties = { unary("max_pool2d", { k = 3, stride = 2, padding = 1 }) },
  max_pool2d_uneven = { unary("max_pool2d", { k = { 3, 2 }, stride = { 1, 2 }, padding = { 1, 1, 0, 0 } }) },
  avg_pool2d = { unary("avg_pool2d", { k = 2 }) },
  avg_pool2d_padded = { unary("avg_pool2d", { k = 3, stride = 2, padding = 1 }) },
  avg_pool2d_exclude = { unary("avg_pool2d", { k = 3, stride = 2, padding = 1, count_include_pad = false }) },
  global_avg_pool = { unary "global_avg_pool" },
  cross_entropy = { class_loss "cross_entropy" },
  cross_entropy_weight = { class_loss("cross_entropy", { weight = true }) },
  cross_entropy_smooth = { class_loss("cross_entropy", { label_smoothing = 0.2 }) },
  cross_entropy_all = { class_loss("cross_entropy", { weight = true, label_smoothing = 0.1, ignore_index = 3 }) },
  cross_entropy_sum = { class_loss("cross_entropy", { weight = true, label_smoothing = 0.1, reduction = "sum" }) },
  cross_entropy_none = {
    class_loss("cross_entropy", { weight = true, label_smoothing = 0.1, ignore_index = 3, reduction = "none" }),
  },
  cross_entropy_pixels = { class_loss("cross_entropy", { weight = true }) },
  nll_loss = { class_loss "nll_loss" },
  nll_loss_weight = { class_loss("nll_loss", { weight = true, ignore_index = 3 }) },
  nll_loss_none = { class_loss("nll_loss", { weight = true, reduction = "none" }) },
  focal_loss = { class_loss "focal_loss" },
  focal_loss_alpha = { class_loss("focal_loss", { gamma = 1.5, alpha = true }) },
  focal_loss_none = { class_loss("focal_loss", { alpha = true, reduction = "none" }) },
}
for _, reduction in ipairs { "mean", "sum", "none" } do
  cases["mse_loss_" .. reduction] = {
    { "x", "target" }, function(t) return F.mse_loss(t.x, t.target, { reduction = reduction }) end,
  }
  cases["smooth_l1_loss_" .. reduction] = {
    { "x", "target" }, function(t) return F.smooth_l1_loss(t.x, t.target, { beta = 0.7, reduction = reduction }) end,
  }
  cases["l1_loss_" .. reduction] = {
    { "x", "target" }, function(t) return F.l1_loss(t.x, t.target, { reduction = reduction }) end,
  }
  cases["bce_with_logits_" .. reduction] = { { "x", "target" }, function(t)
    return F.bce_with_logits(t.x, t.target, { pos_weight = 2.5, reduction = reduction })
  end }
end
cases.dice_loss = { { "x", "target" }, function(t) return F.dice_loss(t.x, t.target, { smooth = 0.5 }) end }
--- A case of a layer, whose parameters of these names are inputs.
local function of_layer(layer, parameters)
  local names = { "x", table.unpack(parameters) }
  return { names, function(t)
    for _, name in ipairs(parameters) do rawset(layer, name, t[name]) end
    return layer(t.x)
  end }
end
cases.upsample_nearest = of_layer(tr.nn.Upsample { 2, 3 }, {})
cases.upsample_bilinear = of_layer(tr.nn.Upsample({ 2, 3 }, { mode = "bilinear" }), {})
cases.adaptive_avg_pool = of_layer(tr.nn.AdaptiveAvgPool2d { 3, 2 }, {})
cases.conv_transpose = of_layer(
  tr.nn.ConvTranspose2d(3, 4, { 3, 2 }, { stride = { 2, 3 }, padding = 1, output_padding = 1 }), { "weight", "bias" })
cases.standardized_conv = of_layer(
  tr.nn.StandardizedConv2d(3, 4, 3, { padding = 1, bias = false }), { "weight" })
cases.image_standardization = of_layer(tr.nn.ImageStandardization(), {})
cases.layer_norm = of_layer(tr.nn.LayerNorm(6), { "gamma", "beta" })

-- The tensors of a case in one dtype, without the case's name.
local function inputs_of(case, dtype)
  local inputs = {}
  for name, t in pairs(stored) do
    local own = name:match("^" .. case .. "%.(.+)$")
    if own then inputs[own] = t.dtype == "f64" and t:to(dtype):clone() or t end
  end
  return inputs
end

local function assert_close(result, expected, tolerance, what)
  assert.same(expected:shape(), result:shape(), what)
  local apart = (result:to "f64" - expected):abs():max():item()
  local scale = math.max(1, expected:abs():max():item())
  assert.is_true(apart <= tolerance * scale, ("%s is %g off"):format(what, apart))
end

describe("PyTorch agrees with", function()
  for case, row in pairs(cases) do
    for dtype, tolerance in pairs { f64 = 1e-12, f32 = 2e-6 } do
      it(case .. " in " .. dtype, function()
        local names, f = table.unpack(row)
        local t = inputs_of(case, dtype)
        for _, name in ipairs(names) do t[name].requires_grad = true end
        local y = f(t)
        assert.equal(dtype, y.dtype)
        assert_close(y, stored[case .. ".y"], tolerance, "y")
        y:backward(t.dy)
        for _, name in ipairs(names) do
          assert_close(t[name].grad, stored[case .. ".grad." .. name], tolerance, "gradient of " .. name)
        end
        for _, name in ipairs { "running_mean", "running_var" } do
          local after = stored[case .. ".after." .. name]
          if after then assert_close(t[name], after, tolerance, name) end
        end
      end)
    end
  end

  it("all cases, each stored under a name of its own", function()
    for name in pairs(stored) do
      local case = name:match "^(.-)%.y$"
      assert.is_true(case == nil or cases[case] ~= nil, name)
    end
  end)
end)
