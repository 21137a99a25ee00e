--- Trained networks for other work: frozen layers, new heads, rates by layer, averaged weights.
-- lua/texres/nn/head.lua, lua/texres/trainer/objective.lua, lua/texres/average.lua.

local tr = require "texres"
local input = require "texres.input"
local objective = require "texres.trainer.objective"
local support = require "spec.support"
local nn = tr.nn

local function message_of(fn, ...) return select(2, pcall(fn, ...)) end

local function small(classes)
  return tr.models.build {
    stages = { { blocks = 1, width = 4 }, { blocks = 1, width = 4 } }, in_channels = 1, classes = classes or 6,
  }
end

local function same(a, b) return a:eq(b):sum():item() == a:numel() end

local fabric = tr.data.fabric { count = 36, seed = 3, size = 16 }

--- A trainer that has trained a little.
local function fitted(options)
  options.epochs, options.batch, options.quiet, options.watch = 1, 12, true, false
  local trainer = tr.Trainer(options)
  trainer:fit(fabric, fabric)
  return trainer
end

describe("frozen layers", function()
  it("keep weights and running statistics, through a training, and learn again when let", function()
    local model = small()
    model.stage1:freeze()
    local before, stage2 = model.stage1:clone():state_dict(), model.stage2[1].norm1.running_mean:clone()
    fitted { model = model, optimizer = { "adamw", lr = 1e-2 } }
    for name, t in pairs(model.stage1:state_dict()) do assert(same(t, before[name]), name) end
    assert.is_false(same(stage2, model.stage2[1].norm1.running_mean))
    model.stage1:unfreeze()
    fitted { model = model, optimizer = { "adamw", lr = 1e-2 } }
    assert.is_false(same(before["1.norm1.running_mean"], model.stage1[1].norm1.running_mean))
    assert.is_false(same(before["1.conv1.weight"], model.stage1[1].conv1.weight))
  end)
end)

describe("freeze and unfreeze", function()
  it("take no names, which would freeze all the same", function()
    for _, name in ipairs { "freeze", "unfreeze" } do
      local model = small()
      assert.matches(name .. ": it takes no arguments; of a part it is called as net.stage1:" .. name,
        message_of(model[name], model, "stage1"), 1, true)
    end
  end)
end)

describe("replace_head", function()
  it("puts a layer for other classes in the place of the last dense one", function()
    local model = small():freeze()
    local x, kept = tr.randn(2, 8, 8, 1), model.conv1
    assert.equal(model, model:replace_head(3))
    assert.equal("{2,3}", "{" .. table.concat(model(x):shape(), ",") .. "}")
    assert.equal(kept, model.conv1)
    assert.is_true(model.fc.weight.requires_grad and model.fc.training)
    assert.is_false(model.conv1.weight.requires_grad or model.conv1.training)
    assert.equal("Linear(4, 3)", nn.from_config(model:config()).fc:describe())
    assert.equal(0, model:replace_head(2, { zero = true })(x):abs():max():item())
  end)

  it("finds layers by name, convolutions too, and keeps their kind", function()
    local model = nn.Module {
      body = nn.Linear(2, 3), last = nn.Linear(3, 4, { bias = false }):to "f64", scores = nn.Conv2d(3, 4, 1),
      forward = function(self, x) return self.last(self.body(x)) end,
    }
    model:eval():replace_head(7)
    assert.equal("Linear(3, 7, {bias=false})", model.last:describe())
    assert.equal("f64", model.last.weight.dtype)
    assert.is_false(model.last.training)
    model:replace_head(5, { layer = "scores" })
    assert.equal("Conv2d(3, 5, 1)", model.scores:describe())
    assert.equal("Linear(2, 3)", model.body:describe())
  end)

  it("keeps what the model takes where the names are told", function()
    local model = fitted({ model = small(), operating_point = { false_reject = 0.5 } }).model
    local before = input.of(model)
    local names, labels = { "good", "bad" }, {}
    for i, label in ipairs(fabric.label) do labels[i] = math.min(label, 2) end
    model:replace_head(names)
    local after = input.of(model)
    assert.same(before.normalization, after.normalization)
    assert.same(names, after.classes)
    assert.is_nil(after.operating_point)
    assert.equal(6, #before.classes)
    local two = fabric:with_labels(labels, names):map(function(image) return image * 0.5 end)
    local trainer = tr.Trainer { model = model, epochs = 1, batch = 12, quiet = true, watch = false }
    trainer:fit(two, two)
    assert.same(before.normalization, input.of(trainer.model).normalization)
    model:replace_head(2)
    assert.is_nil(input.of(model))
  end)

  it("says what can't be replaced", function()
    assert.matches("classes is 0, wanted their number, or a list", message_of(nn.Module.replace_head, small(), 0))
    assert.matches("classes is {\"a\", \"a\"}", message_of(nn.Module.replace_head, small(), { "a", "a" }))
    for _, layer in ipairs { nn.ReLU(), nn.SqueezeExcitation(4) } do
      local net = nn.Sequential { layer, nn.Conv2d(4, 3, 1), nn.GlobalAvgPool() }
      assert.matches("Sequential has no dense layer", message_of(nn.Module.replace_head, net, 2))
    end
    local function refused(layer) return message_of(nn.Module.replace_head, small(), 2, { layer = layer }) end
    assert.matches("no layer \"stage\", did you mean stage1", refused "stage")
    assert.matches("stage1 is Sequential, wanted", refused "stage1")
    assert.matches("a single layer", message_of(nn.Module.replace_head, nn.Linear(2, 2), 2))
  end)
end)

describe("rates by layer", function()
  --- The rate and the decay of each parameter by name.
  local function rates(spec, model)
    local found = {}
    for _, group in ipairs(objective.optimizer(spec, model).groups) do
      for _, p in ipairs(group.params) do
        for name, own in model:named_parameters() do
          if own == p then found[name] = { group.lr, group.weight_decay } end
        end
      end
    end
    return found
  end

  it("are those of the first rule that names a layer, or the optimizer's", function()
    local found = rates({ "adamw", lr = 1, weight_decay = 0.5, groups = {
      { { "conv1", "norm1" }, lr = 0.01 }, { "stage[12]%.1%.conv2", lr = 0.2, weight_decay = 0.1 },
      { "stage2", lr = 0.1 },
    } }, small())
    assert.same({ 0.01, 0.5 }, found["conv1.weight"])
    assert.same({ 0.01, 0 }, found["norm1.gamma"])
    assert.same({ 1, 0.5 }, found["stage1.1.conv1.weight"]) -- conv1 is another layer
    assert.same({ 0.2, 0.1 }, found["stage1.1.conv2.weight"])
    assert.same({ 0.2, 0.1 }, found["stage2.1.conv2.weight"])
    assert.same({ 0.1, 0.5 }, found["stage2.1.conv1.weight"])
    assert.same({ 0.1, 0 }, found["stage2.1.norm1.beta"])
    assert.same({ 1, 0 }, found["fc.bias"])
    found = rates({ "sgd", lr = 1, weight_decay = 0.5, groups = { { "fc", lr = 0 } } }, small())
    assert.same({ 0, 0.5 }, found["fc.bias"])
    assert.same({ 1, 0.5 }, found["norm1.gamma"])
  end)

  it("go with the schedule, and into the identity of the run", function()
    local folder = support.folder()
    local function run(rate, more)
      local options = {
        model = small(), dir = folder, schedule = { "cosine" },
        optimizer = { "adamw", lr = 1e-2, groups = { { "stage1", lr = rate }, { "conv1", lr = 0 } } },
      }
      for name, value in pairs(more or {}) do options[name] = value end
      return fitted(options)
    end
    local trainer = run(1e-3)
    local lr = trainer.optimizer:lr()
    assert.is_true(lr < 1e-2)
    for _, group in ipairs(trainer.optimizer.groups) do
      assert(group.lr == lr or group.lr == 0 or math.abs(group.lr - lr / 10) < 1e-9)
    end
    local page = support.read_file(folder .. "/report.html")
    assert.matches("rate times = 1 and 0.1 and 0, weight_decay = 0.01 and 0", page)
    assert.matches("lr as a multiple of lr: 0.1.- %-> 0.2", message_of(run, 2e-3, { resume = true }))
  end)

  it("are refused where a rule names nothing", function()
    local function refused(groups) return message_of(objective.optimizer, { "adamw", groups = groups }, small()) end
    assert.matches("groups%[1%]: no parameter is called \"stage9\"", refused { { "stage9", lr = 1 } })
    assert.matches("groups%[2%]: no parameter is called \"fc\"", refused { { "fc" }, { "fc", lr = 1 } })
    assert.matches("groups%[1%] is \"fc\", wanted", refused { "fc" })
    assert.matches("groups%[1%]: \"%[\" is no name", refused { { "[" } })
    assert.matches("unknown option 'rate'", refused { { "fc", rate = 1 } })
  end)
end)

describe("average", function()
  local folder = support.folder()
  local paths, models = {}, {}
  for i = 1, 3 do
    tr.manual_seed(i)
    models[i], paths[i] = small(), ("%s/%d.safetensors"):format(folder, i)
    assert(tr.save(paths[i], {
      model = models[i], classes = fabric.classes, input = { 16, 16, 1 }, normalization = { mean = 0.5, std = 0.2 },
      temperature = 2,
    }))
  end

  it("is the mean of the weights, each with its share", function()
    local net = assert(tr.average(paths))
    local want = (models[1].fc.weight + models[2].fc.weight + models[3].fc.weight):detach() * (1 / 3)
    assert.is_true(tr.allclose(net.fc.weight, want, 1e-6, 1e-7))
    assert.is_false(net.training)
    assert.same({ mean = 0.5, std = 0.2 }, input.of(net).normalization)
    assert.is_nil(input.of(net).temperature)
    net = assert(tr.average { paths[1], paths[2], weights = { 3, 1 } })
    want = (models[1].conv1.weight * 0.75 + models[2].conv1.weight * 0.25):detach()
    assert.is_true(tr.allclose(net.conv1.weight, want, 1e-6, 1e-7))
    assert.is_true(same(models[2].conv1.weight, assert(tr.average { paths[2] }).conv1.weight))
    assert(tr.save(folder .. "/average.safetensors", { model = net }))
    assert.same(fabric.classes, assert(tr.load(folder .. "/average.safetensors")).classes)
  end)

  it("measures running statistics anew on a set", function()
    local net = assert(tr.average { paths[1], paths[2], statistics = fabric, batch = 36 })
    local images = input.of(net):loader(fabric, { batch = 36 }, "spec"):batches(1)()
    local maps = net.conv1(images):detach()
    assert.is_true(tr.allclose(net.norm1.running_mean, maps:mean { 1, 2, 3 }, 1e-4, 1e-5))
    assert.is_true(tr.allclose(net.norm1.running_var, maps:var { 1, 2, 3 }, 1e-3, 1e-5))
    assert.equal(0.1, net.norm1.momentum)
    assert.is_false(net.norm1.training)
  end)

  it("says what does not go together", function()
    local function save(name, contents)
      contents.model = contents.model or small()
      assert(tr.save(folder .. "/" .. name, contents))
      return folder .. "/" .. name
    end
    local other = save("other", { classes = { "a", "b", "c", "d", "e", "f" } })
    assert.matches("other: its classes is not that", select(2, tr.average { paths[1], other }))
    other = save("other", {
      model = small(3), classes = fabric.classes, input = { 16, 16, 1 }, normalization = { mean = 0.5, std = 0.2 },
    })
    assert.matches("other: the state does not fit", select(2, tr.average { paths[1], other }))
    local function saved(name, options)
      options.stages, options.classes = { { blocks = 1, width = 4 } }, 2
      local path = folder .. "/" .. name
      assert(tr.save(path, { model = tr.models.build(options) }))
      return path
    end
    local one = saved("one", {})
    for text, options in pairs { -- the weights fit
      ["the layer 5 is GlobalMaxPool%(%), in the first file GlobalAvgPool%(%)"] = { head = "gmp" },
      ["the layer conv1 is Conv2d%(.*stride=2"] = { stem = { stride = 2 } },
    } do
      assert.matches("two: " .. text, select(2, tr.average { one, saved("two", options) }))
    end
    assert(tr.average { one, saved("two", { checkpoint = true, stochastic_depth = 0.2 }) })
    local function pair(a, b)
      for name, m in pairs { a = a, b = b } do assert(tr.save(folder .. "/" .. name, { model = m })) end
      return tr.average { folder .. "/a", folder .. "/b" }
    end
    local function norm(options) return nn.Sequential { nn.BatchNorm(4, options), nn.LayerNorm(4) } end
    assert.matches("b: the layer 1 is BatchNorm%(4, {eps=0.001}%), in the first file BatchNorm%(4, {eps=1e%-05}%)",
      select(2, pair(norm(), norm { eps = 1e-3 })))
    assert(pair(norm(), norm { momentum = 0.3 }))
    local first, second = { a = nn.ReLU() }, { b = nn.Conv2d(4, 4, 1) }
    assert.matches("b: the layer itself is Sequential of b, a, in the first file Sequential of a, b",
      select(2, pair(nn.Sequential { first, second }, nn.Sequential { second, first })))
    local function graph(a, b)
      return nn.Graph { nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), steps = {
        { item = a, value = 1 }, { item = b, value = 2 }, { sum = { 2, 3 } },
      } }
    end
    assert(pair(graph(1, 2), graph(1, 2)))
    assert.matches("the layer itself is Graph of 1, 2 ", select(2, pair(graph(1, 2), graph(2, 1))))
    assert.matches("absent", select(2, tr.average { folder .. "/absent" }))
    assert.matches("2 weights for 1 file", message_of(tr.average, { paths[1], weights = { 1, 2 } }))
    assert.matches("weights is {%-1}, wanted a list", message_of(tr.average, { paths[1], weights = { -1 } }))
    assert.matches("all weights are 0", message_of(tr.average, { paths[1], weights = { 0 } }))
    assert.matches("too large to be added", message_of(tr.average, { paths[1], paths[2], weights = { 1e308, 1e308 } }))
    assert.matches("no files", message_of(tr.average, {}))
    assert.matches("file 1 is 3", message_of(tr.average, { 3 }))
    assert.matches("statistics is 3, wanted a data set", message_of(tr.average, { paths[1], statistics = 3 }))
  end)
end)
