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
  it("have the published numbers of parameters", function()
    assert.equal(11689512, models.resnet18():num_parameters())
    assert.equal(25557032, models.resnet50():num_parameters())
    assert.equal(2328902, models.textile { head = "conv" }:num_parameters())
    -- 19 layers of 3x3 (270,896 weights with those of option A), two projections, 4 + 32 more norm values
    assert.equal(272474, models.cifar_resnet { depth = 20 }:num_parameters())
    assert.equal(269722, models.cifar_resnet { depth = 20, residual = false }:num_parameters())
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
      'head is "x", wanted "gap" or "mean_max" or "conv"')
    assert.error_matches(function() models.cifar_resnet { depth = 21 } end, "depth is 6n%+2")
    assert.error_matches(function() models.resnet18 { class = 3 } end, "unknown option 'class'; there are classes")
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
