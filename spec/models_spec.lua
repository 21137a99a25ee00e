--- The ready-made networks: parameter counts, names, and values and gradients of the same networks in PyTorch.
local tr = require "texres"
local safetensors = require "texres.safetensors"
local models = tr.models

local function part(tensors, prefix)
  local found = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #prefix) == prefix then found[name:sub(#prefix + 1)] = t end
  end
  return found
end

local function close(got, want, what, scale)
  local error = (got:detach() - want):abs():max():item()
  local bound = (scale or 1) * 2e-4 * math.max(1, want:abs():max():item())
  assert.is_true(error <= bound, ("%s: off by %g"):format(what, error))
end

describe("models", function()
  -- torchvision's, of 0.24; the papers' for the small ones: 0.27M, 0.46M, 0.66M, 0.85M and 1.7M for option A (He et al.
  -- 2016a, table 6), 1.7M and 10.2M (2016b), 11.0M, 36.5M and 8.9M (Zagoruyko and Komodakis 2016)
  it("have the published numbers of parameters", function()
    local function count(name, options) return models[name](options):num_parameters() end
    for name, parameters in pairs {
      resnet18 = 11689512, resnet34 = 21797672, resnet50 = 25557032, resnet101 = 44549160, resnet152 = 60192808,
      wide_resnet50_2 = 68883240,
    } do
      assert.equal(parameters, count(name), name)
    end
    for depth, parameters in pairs { [20] = 269722, [32] = 464154, [44] = 658586, [56] = 853018, [110] = 1727962 } do
      assert.equal(parameters, count("cifar_resnet", { depth = depth, shortcut = "identity_pad" }))
      assert.equal(parameters, count("cifar_resnet", { depth = depth, residual = false }))
      assert.equal(parameters, count("cifar_preact", { depth = depth, shortcut = "identity_pad" }))
    end
    assert.equal(272474, count("cifar_resnet", { depth = 20 })) -- two projections more
    assert.equal(1703258, count("cifar_preact", { depth = 164, block = "preact_bottleneck" }))
    assert.equal(10327706, count("cifar_preact", { depth = 1001, block = "preact_bottleneck" }))
    assert.equal(10961370, count("wide_resnet", { depth = 16, widen = 8 }))
    assert.equal(36479194, count("wide_resnet"))
    assert.equal(8949210, count("wide_resnet", { depth = 40, widen = 4 }))
    assert.equal(2328902, models.textile { head = "conv" }:num_parameters())
  end)

  -- of convolutions and dense layers alone, see texres.nn.costs: torchvision's (its tables have them as GFLOPS: 1.81,
  -- 3.66, 4.09, 7.8, 11.51); of the small ones with the paper's shortcuts, which cost nothing
  it("have the published numbers of multiply-adds", function()
    for name, count in pairs {
      resnet18 = 1814073344, resnet34 = 3663761408, resnet50 = 4089184256, resnet101 = 7801405440,
      resnet152 = 11513626624,
    } do
      assert.equal(count, models[name]():costs({ 1, 224, 224, 3 }).multiply_adds, name)
    end
    for depth, count in pairs { [20] = 40551040, [32] = 68862592, [56] = 125485696, [110] = 252887680 } do
      local net = models.cifar_resnet { depth = depth, shortcut = "identity_pad" }
      assert.equal(count, net:costs({ 1, 32, 32, 3 }).multiply_adds)
      assert.equal(2 * count, net:costs({ 2, 32, 32, 3 }).multiply_adds)
    end
    assert.equal(5243328768, models.wide_resnet():costs({ 1, 32, 32, 3 }).multiply_adds)
  end)

  it("are built from a table, whatever block, shortcut and head, and again from what describes them", function()
    local x = tr.rand(2, 16, 16, 3)
    for _, block in ipairs { "basic", "bottleneck", "preact", "preact_bottleneck" } do
      for _, shortcut in ipairs { "identity_pad", "projection", "projection_all" } do
        for place, head in ipairs { "gap", "gmp", "mean_max" } do
          local net = models.build {
            stages = { { blocks = 2, width = 4 }, { blocks = 1, width = 8 } }, block = block, shortcut = shortcut,
            head = head, residual = place ~= 1, norm = place == 2 and "none" or "batch", classes = 5,
            zero_init = place == 3, stochastic_depth = 0.3, dropout = 0.1, se = 2,
          }
          net(x):sum():backward()
          for name, p in net:named_parameters() do assert.is_not_nil(p.grad, name) end
          local y = tr.no_grad(net:eval(), x)
          assert.same({ 2, 5 }, y:shape())
          local twin = tr.nn.from_config(net:config()):eval()
          assert.same(y:totable(), tr.no_grad(twin:load_state_dict(net:state_dict()), x):totable())
        end
      end
    end
    local published = models.build { stages = { { width = 8 } }, stem = { stride = 8, width = 4 }, head = "conv" }
    assert.same({ 2, 10 }, published(tr.rand(2, 64, 64, 3)):shape())
  end)

  it("begin as the identity with zero_init, where each block ends in a sum, and learn in all parts", function()
    for _, block in ipairs { "basic", "bottleneck", "preact", "preact_bottleneck" } do
      for _, norm in ipairs { "batch", "none" } do
        tr.manual_seed(1)
        local net = models.build {
          stages = { { blocks = 3, width = 4 } }, stem = { width = 4 }, block = block, norm = norm, expansion = 1,
          in_channels = 4, zero_init = true,
        }
        local what, x = block .. ", norm " .. norm, tr.rand(8, 8, 8, 4)
        assert(tr.no_grad(net.stage1:eval(), x):eq(x):sum():item() == x:numel(), what)
        local before, optimizer = net:clone():state_dict(), tr.optim.SGD(net:train(), { lr = 0.1 })
        for _ = 1, 4 do
          optimizer:zero_grad()
          tr.nn.functional.cross_entropy(net(x), tr.randint(1, 10, { 8 })):backward()
          optimizer:step()
        end
        for name, p in net:named_parameters() do
          assert(p:eq(before[name]):sum():item() < p:numel(), what .. ": " .. name .. " never learns")
        end
      end
    end
  end)

  it("leave the plain network as it is with zero_init, for it has no sum that brings anything", function()
    local function make(zero_init)
      tr.manual_seed(1)
      return models.build { stages = { { blocks = 2, width = 4 } }, residual = false, zero_init = zero_init }
    end
    local want, got = make(false):state_dict(), make(true):state_dict()
    for name, t in pairs(want) do assert(t:eq(got[name]):sum():item() == t:numel(), name) end
  end)

  it("give one row of logits for each image", function()
    local x = tr.rand(2, 64, 64, 3)
    for name, options in pairs {
      textile = { width = 4, in_channels = 3 }, resnet18 = { classes = 6, small_input = true },
      resnet34 = { classes = 6 }, resnet50 = { classes = 6 }, cifar_resnet = { depth = 8, classes = 6 },
    } do
      local net = models[name](options):eval()
      assert.same({ 2, 6 }, tr.no_grad(net, x):shape(), name)
    end
    assert.same({ 2, 6 }, tr.no_grad(models.textile { width = 4, in_channels = 3, head = "conv" }, x):shape())
  end)

  it("name their parts", function()
    local state = models.resnet18 { classes = 2 }:state_dict()
    for _, name in ipairs {
      "conv1.weight", "stage2.1.conv1.weight", "stage2.1.shortcut.norm.running_var", "fc.bias",
    } do
      assert.is_not_nil(state[name], name)
    end
    local text = select(2, pcall(models.resnet18 { classes = 2 }, tr.zeros(1, 32, 32, 1)))
    assert.matches("in resnet18.conv1: conv2d", text, 1, true)
  end)

  it("refuse wrong options", function()
    assert.error_matches(function() models.textile { head = "x" } end,
      'head is "x", wanted "gap" or "gmp" or "mean_max" or "conv"')
    assert.error_matches(function() models.cifar_resnet { depth = 21 } end, "is 6n%+2, such as 8, 20, 56; got 21")
    assert.error_matches(function() models.build {} end, "build: stages is nil, wanted a list such as")
    assert.error_matches(function() models.build { stages = { { block = 2 } } } end, "stage 1: unknown option 'block'")
    assert.error_matches(function() models.build { stages = { {} }, stem = "vgg" } end, 'stem is "vgg", wanted "cifar"')
    assert.error_matches(function()
      models.resnet18 { shortcut = "identity_pad", stages = { { width = 64 }, { width = 8 } } }
    end, 'resnet18: shortcut "identity_pad" does not lead from 64 channels to 8, "projection" does')
    assert.error_matches(function() models.resnet18 { class = 3 } end, "unknown option 'class'; there are block")
  end)

  local nets = { textile = models.textile { width = 4 }, resnet = models.cifar_resnet { depth = 8, classes = 4 } }
  for file, net in pairs(nets) do
    it("compute what PyTorch computes: " .. file, function()
      local want = assert(safetensors.load("spec/fixtures/" .. file .. ".safetensors"))
      net:load_state_dict(part(want, "state."))
      close(tr.no_grad(function() return net:eval()(want.x) end), want.eval, "evaluation logits")
      local logits = net:train()(want.x)
      close(logits, want.train, "training logits")
      local loss = tr.nn.functional.cross_entropy(logits, want.labels)
      close(loss, want.loss, "loss")
      loss:backward()
      local gradients = part(want, "grad.")
      for name, p in net:named_parameters() do
        if gradients[name] then close(p.grad, gradients[name], "gradient of " .. name, 2) end
      end
      local state = net:state_dict()
      for name, t in pairs(part(want, "after.")) do close(state[name], t, name) end
    end)
  end
end)
