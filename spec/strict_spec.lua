--- Names that don't exist: nearly right ones are errors, all others nil. lua/texres/strict.lua
local tr = require "texres"
local support = require "spec.support"
local nn = tr.nn

local function here() return debug.getinfo(2, "S").short_src:gsub("%p", "%%%0") .. ":%d+: " end

describe("a name that is nearly right", function()
  local net = tr.models.textile { width = 2 }
  local path = support.folder() .. "/net.safetensors"
  assert(tr.save(path, { model = net }))
  local set = tr.data.fabric { count = 12, size = 16, seed = 1 }
  local trainer, optimizer = tr.Trainer { model = net }, tr.optim.SGD(net, { lr = 1 })
  local things = {
    ["texres"] = { tr, sofmax = "softmax", Tensor = "tensor", laod = "load", Trainerr = "Trainer",
      gradchek = "gradcheck", functon = "Function", manualSeed = "manual_seed" },
    ["texres.nn"] = { nn, Conv2D = "Conv2d", conv2d = "Conv2d", BatchNorm2d = "BatchNorm", Relu = "ReLU",
      Sequental = "Sequential", fromConfig = "from_config" },
    ["texres.nn.functional"] = { nn.functional, rellu = "relu", crossentropy = "cross_entropy", conv2D = "conv2d" },
    ["texres.nn.init"] = { nn.init, kaimingNormal = "kaiming_normal", xavier_normel = "xavier_normal" },
    ["texres.optim"] = { tr.optim, Adamw = "AdamW", adam = "Adam", sgd = "SGD", clip_gradnorm = "clip_grad_norm" },
    ["texres.optim.schedule"] = { tr.optim.schedule, cosin = "cosine", one_cylce = "one_cycle" },
    ["texres.models"] = { tr.models, resnet20 = "resnet101 or resnet18 or resnet34 or resnet50", ResNet18 = "resnet18",
      textil = "textile" },
    ["texres.data"] = { tr.data, opne = "open", fabirc = "fabric", flder = "folder" },
    ["texres.onnx"] = { tr.onnx, exprot = "export", imprt = "import" },
    ["a tensor"] = { tr.ones(2), sofmax = "softmax", reshpe = "reshape", requires_gard = "requires_grad",
      dtpe = "dtype", toTable = "totable" },
    ["a set"] = { set, shufle = "shuffle", splitt = "split", calsses = "classes", mask = "masks" },
    ["a loader"] = { set:loader { batch = 4 }, bathces = "batches" },
    ["a trainer"] = { trainer, fitt = "fit", evalute = "evaluate", histroy = "history" },
    ["a classifier"] = { assert(tr.load(path)), predct = "predict", exportOnnx = "export_onnx" },
    ["an optimizer"] = { optimizer, zero_gard = "zero_grad", setlr = "set_lr", stpe = "step" },
    ["a result"] = { require("texres.metrics").Counter({ "a", "b" }):result(), acuracy = "accuracy" },
    ["a module"] = { net, paramters = "parameters", numParameters = "num_parameters", sumary = "summary",
      zeroGrad = "zero_grad", export_onx = "export_onnx" },
  }

  for what, thing in pairs(things) do
    it("of " .. what .. " is told", function()
      for wrong, right in pairs(thing) do
        if type(wrong) == "string" then
          local ok, message = pcall(function() return thing[1][wrong] end)
          assert.is_false(ok, wrong)
          assert.matches("^" .. here() .. what .. " has no " .. wrong .. "; did you mean " .. right .. "%?$", message)
        end
      end
    end)
  end

  it("leaves all others nil, so that scripts can ask", function()
    for _, name in ipairs { "x", "cuda", "gpu", "mpi", "device", "_anything", "LSTM", "Attention", "sin" } do
      for what, thing in pairs(things) do assert.is_nil(thing[1][name], what .. "." .. name) end
    end
    assert.is_nil(tr[1])
    assert.is_nil(tr.gelu) -- one of texres.nn.functional
    assert.is_nil(set.masks)
    assert.is_nil(trainer.best)
    assert.is_nil(optimizer[true])
  end)

  it("is no matter of a module's attributes", function()
    local Net = nn.Module "SpecStrict"
    function Net:init() self.conv1 = nn.Conv2d(1, 1, 1) end
    function Net:forward(x)
      if self.conv2 or self.buffer or self.module or self.profiler or self.config2 or self.close then return nil end
      return self.conv1(x)
    end
    assert.same({ 1, 1, 1, 1 }, Net()(tr.ones(1, 1, 1, 1)):shape())
    assert.is_nil(net.block4)
    assert.equal(2, #nn.Sequential { { config2 = nn.ReLU() }, { paramters = nn.ReLU() } })
  end)

  it("costs nothing when it is asked for again and again", function()
    local started = tr.clock()
    for _ = 1, 100000 do assert(not net.shortcut) end
    assert.is_true(tr.clock() - started < 1)
  end)
end)

describe("shuffle", function()
  it("gives all samples in an order that follows from the seed", function()
    local set = tr.data.fabric { count = 12, size = 16, seed = 1 }
    local a, b, c = set:shuffle(3), set:shuffle(3), set:shuffle()
    assert.same(a.index, b.index)
    assert.are_not.same(a.index, c.index)
    local sorted = table.move(a.index, 1, #a.index, 1, {})
    table.sort(sorted)
    assert.same(set.index, sorted)
    for i = 1, #a do assert.equal(set.label[a.index[i]], a.label[i]) end
    assert.error_matches(function() set:shuffle "x" end, 'shuffle: seed is "x", wanted a whole number')
    assert.error_matches(function() set:shuffle(1.5) end, "shuffle: seed is 1.5, wanted a whole number")
    assert.same(a.index, set:shuffle(3.0).index)
  end)
end)
