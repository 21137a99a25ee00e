--- Weights of torchvision's ResNets: the same outputs and gradients as in PyTorch, gray images, other heads.
local tr = require "texres"
local json = require "texres.json"
local safetensors = require "texres.safetensors"
local support = require "spec.support"

local MODULUS, BATCH = 1000003, 7
local want, metadata = assert(safetensors.load "spec/fixtures/torchvision.safetensors")

-- As in spec/fixtures/make_torchvision.py.
local function formula(k, shape, low, high)
  local count = 1
  for _, n in ipairs(shape) do count = count * n end
  local i = tr.arange(count) - 1
  local hashed = (i * i * 31 + i * (7919 + 2 * k) + 101 * k) % MODULUS
  return (hashed:to "f64" * ((high - low) / MODULUS) + low):to("f32"):reshape(shape)
end

local LIMITS = { weight = { 0.25, 0.75 }, running_var = { 0.5, 1.5 } }

local function limits(name, shape)
  if #shape == 4 then
    local bound = (6 / (shape[2] * shape[3] * shape[4])) ^ 0.5
    return -bound, bound
  end
  if #shape == 2 then return -0.05, 0.05 end
  return table.unpack(LIMITS[name:match "[^.]+$"] or { -0.25, 0.25 })
end

--- The state_dict that torchvision would write, as tensors by name.
local function state_of(net)
  local tensors = {}
  for k, entry in ipairs(json.decode(metadata[net])) do
    local name, shape = entry[1], entry[2]
    if name:find "num_batches_tracked$" then
      tensors[name] = tr.zeros(1, { dtype = "i64" })
    else
      tensors[name] = formula(k, shape, limits(name, shape))
    end
  end
  return tensors
end

local folder, files = support.folder(), {}

--- A file of that state, which is written once.
local function file_of(net)
  if not files[net] then
    files[net] = ("%s/%s.safetensors"):format(folder, net)
    assert(safetensors.save(files[net], state_of(net)))
  end
  return files[net]
end

local function close(got, expected, what)
  local scale = expected:abs():max():item()
  local off = (got - expected):abs():max():item() / scale
  assert.is_true(off <= 1e-4, ("%s: off by %g of %g"):format(what, off, scale))
end

describe("weights of torchvision", function()
  local x = formula(BATCH, { 2, 3, 64, 64 }, -2, 2):permute(1, 3, 4, 2):contiguous()
  local labels = tr.tensor({ 1, 6 }, { dtype = "i64" })

  for _, name in ipairs { "resnet18", "resnet50" } do
    it("give what PyTorch computes: " .. name, function()
      local net, fitted = assert(tr.models[name] { weights = file_of(name) })
      assert.same({ {}, {} }, { fitted.missing, fitted.different })
      for _, mode in ipairs { "eval", "train" } do
        for _, p in ipairs(net:parameters()) do p.grad = nil end
        local logits = net[mode](net)(x)
        close(logits:detach(), want[name .. "." .. mode], name .. " " .. mode)
        tr.nn.functional.cross_entropy(logits, labels):backward()
        local own = {}
        for ours, p in net:named_parameters() do own[ours] = p.grad end
        local prefix = ("%s.%s.grad."):format(name, mode)
        for key, gradient in pairs(want) do
          if key:sub(1, #prefix) == prefix then
            local ours, g = tr.models.torchvision(key:sub(#prefix + 1), gradient)
            close(own[ours]:slice(-1, 1, g:size(-1)), g, key)
          end
        end
      end
    end)
  end

  it("take gray images: what the coloured one of equal channels gives", function()
    local gray = tr.rand(1, 64, 64, 1)
    local net = assert(tr.models.resnet18 { weights = file_of "resnet18", in_channels = 1 }):eval()
    local coloured = assert(tr.models.resnet18 { weights = file_of "resnet18" }):eval()
    close(tr.no_grad(net, gray), tr.no_grad(coloured, gray:expand(1, 64, 64, 3):contiguous()), "gray")
  end)

  it("are trained on with ImageNet's normalization and a new head", function()
    local net, fitted = assert(tr.models.resnet18 { weights = file_of "resnet18", in_channels = 1, classes = 6 })
    assert.same({ "fc.bias is {6} here, {1000} in the state", "fc.weight is {512,6} here, {512,1000} in the state" },
      fitted.different)
    local set = tr.data.fabric { count = 12, size = 32, seed = 1 }
    local trainer = tr.Trainer { model = net, epochs = 1, batch = 6, quiet = true, dir = folder .. "/run" }
    trainer:fit(set)
    local clf = assert(tr.load(folder .. "/run/best.safetensors"))
    assert.same(set.classes, clf.classes)
    assert.same({ 32, 32, 1 }, clf.input)
    assert.near(0.449, clf.normalization.mean, 1e-12)
    assert.near(0.226, clf.normalization.std, 1e-12)
    local own = assert(tr.models.resnet18 { weights = file_of "resnet18", classes = 6 })
    assert.same({ 0.485, 0.456, 0.406 }, require("texres.input").of(own).normalization.mean)
  end)

  it("of another network, and other files, are refused", function()
    local function refused(network, path, options)
      options.weights = path
      local net, message = tr.models[network](options)
      assert.is_nil(net)
      return message
    end
    local path = file_of "resnet18"
    local start = path .. ": not torchvision's weights of this network: "
    local advice = " (net:load(path, { strict = false, map = texres.models.torchvision }) takes what fits)"
    assert.equal(start .. "there is no stage1.3.conv1.weight" .. advice, refused("resnet34", path, {}))
    assert.equal(start .. "conv1.weight is {3,3,3,64} here, {7,7,3,64} in the state" .. advice,
      refused("resnet18", path, { small_input = true }))
    local deeper = state_of "resnet18"
    deeper["layer1.2.conv1.weight"] = tr.zeros(64, 64, 3, 3)
    path = folder .. "/deeper.safetensors"
    assert(safetensors.save(path, deeper))
    assert.matches("the network has no stage1.3.conv1.weight", refused("resnet18", path, {}), 1, true)
    path = folder .. "/other.safetensors"
    assert(safetensors.save(path, { w = tr.zeros(1) }))
    assert.matches("other.safetensors: nothing of the state fits", refused("resnet18", path, {}), 1, true)
    assert.matches("none.safetensors", refused("resnet18", folder .. "/none.safetensors", {}), 1, true)
  end)
end)
