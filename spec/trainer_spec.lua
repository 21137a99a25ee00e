--- The trainer on a toy problem: what it learns, writes, resumes, and how it stops.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local nn, F = tr.nn, tr.nn.functional

-- -- a toy set: 4x4 images, class 2 is brighter on the right ----------------------------------------------------------

local Toy = {}
Toy.__index = Toy
Toy.__len = function(self) return #self.label end

local function toy(count, seed)
  tr.manual_seed(seed)
  local images, label = tr.rand(count, 4, 4, 1), {}
  for i = 1, count do
    label[i] = i % 2 + 1
    if label[i] == 2 then images[i]:slice(2, 3, 4):fill(1.5) end
  end
  return setmetatable({ all = images, label = label, classes = { "plain", "bright" } }, Toy)
end

function Toy:get(i) return self.all[i], self.label[i] end
function Toy:statistics()
  return {
    mean = { self.all:mean():item() }, std = { self.all:std():item() }, min = { self.all:min():item() },
    max = { self.all:max():item() },
  }
end
function Toy:counts()
  local counts = { 0, 0 }
  for _, label in ipairs(self.label) do counts[label] = counts[label] + 1 end
  return counts
end

local Loader = {}
Loader.__index = Loader
Loader.__len = function(self) return math.ceil(#self.set / self.batch) end

function Toy:loader(options)
  self.options = options
  return setmetatable({ set = self, batch = options.batch, mean = options.mean[1], std = options.std[1],
    shuffle = options.shuffle }, Loader)
end

--- Batches in an order that depends on the epoch; `on_batch` of the set hears of each.
function Loader:batches(epoch, first)
  local set, n = self.set, #self.set
  local k = (first or 1) - 1
  return function()
    if k * self.batch >= n then return nil end
    local positions = {}
    for i = k * self.batch + 1, math.min(n, (k + 1) * self.batch) do
      positions[#positions + 1] = self.shuffle and (i * 7 + epoch * 3) % n + 1 or i
    end
    k = k + 1
    if set.on_batch then set.on_batch(epoch, k) end
    local labels = {}
    for i, position in ipairs(positions) do labels[i] = set.label[position] end
    local index = tr.tensor(positions, { dtype = "i64" })
    return (set.all:index_select(1, index) - self.mean) / self.std, tr.tensor(labels, { dtype = "i64" })
  end
end

local function model(seed)
  tr.manual_seed(seed or 3)
  return nn.Sequential {
    nn.Flatten(), { hidden = nn.Linear(16, 8) }, nn.ReLU(), nn.Dropout(0.2), { out = nn.Linear(8, 2) },
  }
end

local function options(changes)
  local o = { model = model(), optimizer = { "adamw", lr = 0.02 }, epochs = 4, batch = 8, seed = 5, quiet = true }
  for key, value in pairs(changes or {}) do o[key] = value end
  return o
end

--- All parameters as one list of numbers: equal only when every bit is.
local function weights(net)
  local list = {}
  for name, p in net:named_parameters() do list[name] = p:detach():flatten():totable() end
  return list
end

-- ---------------------------------------------------------------------------------------------------------------------

describe("Trainer", function()
  it("learns, and leaves the model with the weights of the best epoch", function()
    local trainer = tr.Trainer(options())
    local val = toy(20, 2)
    local history = trainer:fit(toy(60, 1), val)
    assert.equal(4, #history)
    assert.is_true(history[4].loss < history[1].loss)
    local best = trainer.best
    for _, entry in ipairs(history) do assert.is_true(entry.val_accuracy <= best.val_accuracy) end
    local result = trainer:evaluate(val)
    assert.equal(best.val_accuracy, result.accuracy)
    assert.near(best.val_loss, result.loss, 1e-6)
    assert.is_true(result.accuracy > 0.9)
    assert.equal(2, result.confusion:size(1))
    assert.is_false(trainer.model.training)
  end)

  it("names a channel that tells nothing, and an image that is NaN", function()
    local images = tr.rand(6, 4, 4, 2)
    images:select(4, 2):fill(0.25)
    local function fit(given)
      given.model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(32, 2) }
      given.quiet, given.epochs = true, 1
      local set = tr.data.tensors { images = images, labels = { 1, 2, 1, 2, 1, 2 }, classes = { "a", "b" } }
      return tr.Trainer(given):fit(set)
    end
    assert.error_matches(function() fit {} end, "Trainer: channel 2 is 0.25 in all pixels of the training set")
    assert(fit { normalize = false })
    images[5][1][1][1] = 0 / 0
    assert.error_matches(function() fit {} end, "image 5: a pixel of channel 1 is NaN")
  end)

  it("normalizes by the training part alone, and augments and shuffles only it", function()
    local train, val = toy(32, 1), toy(16, 2)
    tr.Trainer(options { epochs = 1, augment = { "flip" } }):fit(train, val)
    assert.same(train:statistics().mean, val.options.mean)
    assert.same({ "flip" }, train.options.augment)
    assert.is_true(train.options.shuffle)
    assert.is_nil(val.options.augment)
    assert.is_falsy(val.options.shuffle)
  end)

  it("keeps the normalization of weights that come with no classes of their own", function()
    local path = support.folder()
    local first = toy(32, 1)
    tr.Trainer(options { epochs = 1, dir = path }):fit(first, toy(16, 2))
    local net = model()
    net.out = nn.Linear(8, 3)
    local fitted = assert(net:load(path .. "/best.safetensors", { strict = false }))
    assert.same({ "hidden.bias", "hidden.weight" }, fitted.fitted)
    local train = toy(32, 4)
    train.all, train.classes = train.all * 0.5, { "plain", "bright", "odd" }
    local trainer = tr.Trainer(options { epochs = 1, model = net })
    trainer:fit(train)
    assert.same(first:statistics().mean, trainer.normalization.mean)
    assert.same(train.classes, trainer.classes)
    trainer = tr.Trainer(options { epochs = 1, model = net, normalize = { mean = { 0.25 }, std = { 0.5 } } })
    trainer:fit(train)
    assert.same({ 0.25 }, trainer.normalization.mean)
  end)

  it("leaves a single image at the end of an epoch out", function()
    local train = toy(17, 1)
    tr.Trainer(options { epochs = 1, batch = 8 }):fit(train)
    assert.is_true(train.options.drop_last)
    tr.Trainer(options { epochs = 1, batch = 9 }):fit(train)
    assert.is_false(train.options.drop_last)
  end)

  it("writes checkpoints, metrics and a report", function()
    local dir = support.folder() .. "/deep/run"
    local trainer = tr.Trainer(options { dir = dir, epochs = 2, schedule = { "one_cycle" }, name = "toy" })
    trainer:fit(toy(32, 1), toy(16, 2))
    trainer:evaluate(toy(16, 3))
    local lines = {}
    for line in io.lines(dir .. "/metrics.jsonl") do lines[#lines + 1] = json.decode(line) end
    assert.equal(2, #lines)
    assert.equal(trainer.history[2].val_loss, lines[2].val_loss)
    local html = support.read_file(dir .. "/report.html")
    for _, text in ipairs { "toy: training report", "Validation", "Test accuracy", "one_cycle", "adamw", "bright" } do
      assert.is_truthy(html:lower():find(text:lower(), 1, true), text)
    end
    local classifier = assert(tr.load(dir .. "/best.safetensors"))
    local answer = classifier:predict((toy(16, 3):get(2)))
    assert.equal("plain", answer.class)
    assert.is_true(support.exists(dir .. "/last.safetensors"))
  end)

  it("tells in the report of which weights each test was", function()
    local dir = support.folder()
    local trainer = tr.Trainer(options { dir = dir, epochs = 1 })
    trainer:fit(toy(32, 1), toy(16, 2))
    trainer:evaluate(toy(16, 3), "Before")
    trainer.epochs = 3
    trainer:fit(toy(32, 1), toy(16, 2))
    trainer:evaluate(toy(16, 3), "After")
    local html = support.read_file(dir .. "/report.html")
    assert.matches("<h2>Before</h2>[^\n]*%(epoch 1%)", html)
    assert.matches(("<h2>After</h2>[^\n]*%%(epoch %d%%)"):format(trainer.best.epoch), html)
  end)

  it("weighs the classes of an evaluated set by its own counts where nothing was trained", function()
    local trained = tr.Trainer(options { epochs = 1 })
    trained:fit(toy(32, 1))
    local few = toy(16, 3)
    for i = 1, 14 do few.label[i] = 1 end
    local function trainer()
      return tr.Trainer { model = trained.model, loss = { "cross_entropy", weight = "balanced" }, quiet = true }
    end
    local wanted, second = trainer():evaluate(few).loss, trainer()
    second:evaluate(toy(16, 2))
    assert.equal(wanted, second:evaluate(few).loss)
  end)

  it("gives the same weights for the same seed, others for another", function()
    local function train(seed)
      local trainer = tr.Trainer(options { seed = seed, epochs = 2 })
      trainer:fit(toy(40, 1))
      return weights(trainer.model)
    end
    assert.same(train(5), train(5))
    assert.is_not.same(train(5), train(6))
  end)

  it("goes on after Ctrl-C with the same weights, bit for bit", function()
    local loss = { "cross_entropy", weight = { 1, 3 } }
    local function trainer_of(changes)
      changes.schedule, changes.loss = { "one_cycle" }, loss
      return tr.Trainer(options(changes))
    end
    local whole = trainer_of { dir = support.folder() }
    local val = toy(16, 2)
    whole:fit(toy(40, 1), val)

    for _, stop in ipairs { { 2, 3 }, { 1, 5 }, { 4, 1 } } do
      local dir, set = support.folder(), toy(40, 1)
      set.on_batch = function(epoch, batch)
        if epoch == stop[1] and batch == stop[2] then io.popen("kill -INT $PPID"):close() end
      end
      local first = trainer_of { dir = dir }
      first:fit(set, val)
      assert.is_true(first.interrupted)
      assert.is_true(#first.history < 4)

      local second = trainer_of { dir = dir, resume = true, model = model(99) }
      local history = second:fit(toy(40, 1), val)
      assert.is_false(second.interrupted)
      assert.same(weights(whole.model), weights(second.model))
      for i, entry in ipairs(whole.history) do
        assert.equal(entry.loss, history[i].loss)
        assert.equal(entry.val_loss, history[i].val_loss)
      end
      assert.same(whole.validation.confusion:totable(), second.validation.confusion:totable())
    end
  end)

  it("goes on from nothing at its beginning, and from a finished run at its end", function()
    local dir = support.folder()
    local first = tr.Trainer(options { dir = dir, resume = true, epochs = 2 })
    assert.equal(2, #first:fit(toy(24, 1), toy(16, 2)))
    local steps = 0
    local second = tr.Trainer(options { dir = dir, resume = true, epochs = 2, callbacks = { function(event)
      if event.kind == "step" then steps = steps + 1 end
    end } })
    assert.equal(2, #second:fit(toy(24, 1), toy(16, 2)))
    assert.equal(0, steps)
    assert.same(weights(first.model), weights(second.model))
  end)

  it("refuses to go on with something else", function()
    local dir = support.folder()
    tr.Trainer(options { dir = dir, epochs = 1 }):fit(toy(24, 1))
    assert.error_matches(function()
      tr.Trainer(options { dir = dir, epochs = 2, batch = 4, resume = true }):fit(toy(24, 1))
    end, "can't resume .*last.safetensors: .*\n  batch: 8 %-> 4\n")
    support.write_file(dir .. "/last.safetensors", "nonsense")
    assert.error_matches(function()
      tr.Trainer(options { dir = dir, epochs = 2, resume = true }):fit(toy(24, 1))
    end, "can't resume: .*last.safetensors")
  end)

  it("stops when patience ends", function()
    local trainer = tr.Trainer(options { epochs = 50, patience = 2, optimizer = { "sgd", lr = 0 } })
    assert.equal(3, #trainer:fit(toy(24, 1), toy(16, 2)))
  end)

  it("stops at a loss that is not finite, and names the layer that made it", function()
    local net = model()
    tr.no_grad(function() net.out.weight:fill(3e38) end)
    assert.error_matches(function() tr.Trainer(options { model = net }):fit(toy(24, 1)) end,
      "Trainer: the loss is %a+ in epoch 1, batch 1 .*not finite is out %(Linear")
  end)

  it("takes no step that fails: running statistics and random numbers are as before it", function()
    local set = tr.data.tensors { images = tr.rand(20, 6, 6), labels = tr.ones({ 20 }, { dtype = "i64" }),
      classes = { "a", "b" } }
    local function train(fail_at)
      tr.manual_seed(4)
      local net = tr.nn.Sequential { tr.nn.Conv2d(1, 2, 3), tr.nn.BatchNorm(2), tr.nn.Dropout(0.5), tr.nn.Flatten(),
        tr.nn.Linear(32, 2) }
      local calls = 0
      local trainer = tr.Trainer { model = net, epochs = 2, batch = 5, quiet = true, loss = function(logits, labels)
        calls = calls + 1
        if calls == fail_at then error "no loss" end
        return tr.nn.functional.cross_entropy(logits, labels) * (calls == (fail_at or 0) + 1 and fail_at and 0 / 0 or 1)
      end }
      for _ = 1, fail_at and 2 or 0 do assert.is_false(pcall(trainer.fit, trainer, set, set)) end
      trainer:fit(set, set)
      return trainer
    end
    local wanted = train().model:state_dict()
    for _, fail_at in ipairs { 1, 3 } do
      for name, t in pairs(train(fail_at).model:state_dict()) do
        assert.is_true(tr.allclose(wanted[name], t, 0, 0), fail_at .. " " .. name)
      end
    end
  end)

  it("names parameters that an update made infinite", function()
    local trainer = tr.Trainer(options { optimizer = { "sgd", lr = 1e30, weight_decay = 1e30 } })
    assert.error_matches(function() trainer:fit(toy(24, 1)) end,
      "in epoch 1, batch %d+ .*The parameter hidden.weight is not finite since the step before")
  end)

  it("takes class weights, focal loss, a loss of the user's own, and clips gradients", function()
    local set = toy(24, 1)
    for _, loss in ipairs {
      { "cross_entropy", weight = "balanced", label_smoothing = 0.1 }, { "cross_entropy", weight = { 1, 3 } },
      { "focal_loss", gamma = 2 }, function(logits, labels) return F.cross_entropy(logits, labels) * 2 end,
    } do
      local history = tr.Trainer(options { loss = loss, epochs = 3, clip_grad_norm = 1 }):fit(set)
      assert.is_true(history[3].loss < history[1].loss)
    end
  end)

  it("tells the loss of a whole set, however it is cut into batches, of training, validation and evaluation", function()
    tr.manual_seed(1)
    local label, net = {}, nn.Sequential { nn.Flatten(), nn.Linear(12, 4) }
    for i = 1, 60 do label[i] = i % 8 == 0 and 1 or i % 5 == 0 and 2 or i > 55 and 3 or 4 end
    local set = tr.data.tensors { images = tr.randn(60, 4, 3), labels = label, classes = { "a", "b", "c", "d" } }
    local logits = tr.no_grad(function() return net(set:images()) end)
    local labels, weight = tr.tensor(label, { dtype = "i64" }), { 1, 20, 0, 3 }
    local function own(scores, truth) return F.cross_entropy(scores, truth) * 2 end
    for _, loss in ipairs {
      "cross_entropy", "focal_loss", { "cross_entropy", label_smoothing = 0.2 }, { "cross_entropy", weight = weight },
      { "cross_entropy", weight = weight, label_smoothing = 0.2, ignore_index = 1 },
      { "cross_entropy", ignore_index = 4 }, { "cross_entropy", reduction = "sum" },
      { "cross_entropy", weight = weight, reduction = "sum", ignore_index = 2 },
      { "focal_loss", alpha = weight, ignore_index = 4 }, { "focal_loss", reduction = "sum" }, own,
    } do
      local all, name = {}, loss
      for key, value in pairs(type(loss) == "table" and loss or {}) do
        if key == 1 then name = value else all[key] = type(value) == "table" and tr.tensor(value) or value end
      end
      local wanted = loss == own and own(logits, labels):item() or F[name](logits, labels, all):item()
      for _, batch in ipairs { 1, 7, 25, 60 } do
        local trainer = tr.Trainer(options {
          model = net, loss = loss, batch = batch, epochs = 1, normalize = false, optimizer = { "sgd", lr = 0 },
        })
        local entry, result = trainer:fit(set, set)[1], trainer:evaluate(set)
        for _, told in ipairs { entry.loss, entry.val_loss, result.loss } do
          assert.near(wanted, told, 1e-5 * wanted)
        end
      end
    end
  end)

  it("knows no loss of a set in which no image weighs anything", function()
    local set = toy(8, 1)
    for i = 1, 8 do set.label[i] = 2 end
    local history = tr.Trainer(options { epochs = 1, loss = { "cross_entropy", ignore_index = 2 } }):fit(set)
    assert.is_true(history[1].loss ~= history[1].loss)
  end)

  it("mixes the losses of mixed images", function()
    local objective = require "texres.trainer.objective"
    local function loss(_, labels) return labels:to("f32"):mean() end
    local ones, twos = tr.tensor({ 1, 1 }, { dtype = "i64" }), tr.tensor({ 2, 2 }, { dtype = "i64" })
    assert.near(1.25, objective.mixed(loss, nil, ones, { labels = twos, lambda = 0.75 }):item(), 1e-6)
    local weighted = objective.loss({ "cross_entropy", weight = { 1, 5 } }, toy(2, 1))
    local _, sum, weight = objective.mixed(weighted, tr.zeros(2, 2), ones, { labels = twos, lambda = 0.75 })
    assert.near(2 * (0.75 * 1 + 0.25 * 5), weight, 1e-6)
    assert.near(weight * math.log(2), sum, 1e-6)
  end)

  it("says what is wrong with its options and sets", function()
    local function fails(changes, pattern)
      local ok, message = pcall(function() return (tr.Trainer(options(changes))) end)
      assert.is_false(ok)
      assert.matches("trainer_spec.lua:%d+: Trainer: " .. pattern, message)
    end
    fails({ epoch = 3 }, "unknown option 'epoch'; did you mean epochs%? There are accumulate, augment")
    fails({ epochs = 0 }, "epochs is 0, wanted a whole number of at least 1")
    fails({ batch = 2.5 }, "batch is 2.5, wanted a whole number")
    fails({ optimizer = { "adamm" } }, 'optimizer is "adamm", wanted "adam" or "adamw" or "sgd"')
    fails({ resume = true }, "resume needs dir")
    assert.error_matches(function() tr.Trainer {} end, "Trainer: model is nil, wanted a module")
    assert.error_matches(function() tr.Trainer(options()):fit(toy(0, 1)) end, "the training set is empty")
    assert.error_matches(function() tr.Trainer(options()):fit() end, "the training set is nil, wanted a data set")
    assert.error_matches(function() tr.Trainer(options()):fit(toy(8, 1), 5) end, "the validation set is 5, wanted a")
    for shown, gives in pairs { ["5"] = 5, ["{2}"] = tr.zeros(2) } do
      assert.error_matches(function() tr.Trainer(options { loss = function() return gives end }):fit(toy(8, 1)) end,
        "the loss function gave " .. shown .. ", wanted a tensor of one element")
    end
    assert.error_matches(function() tr.Trainer(options { loss = "hinge" }):fit(toy(8, 1)) end,
      'loss is "hinge", wanted "cross_entropy" or')
    local other = toy(8, 1)
    other.classes = { "a", "b", "c" }
    assert.error_matches(function() tr.Trainer(options()):fit(toy(8, 1), other) end,
      "the validation set: the classes differ: only this set has 'a', 'b', 'c'; it lacks 'plain', 'bright'")
  end)

  it("leaves everything as it was where model, weights and classes don't fit each other", function()
    local function refuses(changes, pattern)
      local trainer = tr.Trainer(options(changes))
      local net, train, val, before = trainer.model, toy(24, 1), toy(8, 2), {}
      for name, t in pairs(net:state_dict()) do before[name] = t:clone() end
      tr.manual_seed(4)
      local random = { tr.rng_state() }
      assert.error_matches(function() trainer:fit(train, val) end, pattern)
      for name, t in pairs(net:state_dict()) do assert.is_true(tr.allclose(before[name], t, 0, 0), name) end
      assert.same(random, { tr.rng_state() })
      assert.is_true(net.training)
      assert.is_nil(rawget(net, "_input"))
      assert.equal(0, trainer.steps)
    end
    local function net(classes, last)
      return nn.Sequential { nn.Conv2d(1, 4, 3), nn.BatchNorm(4), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(16, classes), last or nn.Identity() }
    end
    for _, classes in ipairs { 1, 3, 6 } do
      refuses({ model = net(classes) }, ("Trainer: for 8 images the model gives {8,%d}, wanted {8,2}: a score for each "
        .. "of the 2 classes"):format(classes))
    end
    refuses({ model = nn.Conv2d(1, 2, 3) }, "the model gives {8,2,2,2}, wanted {8,2}")
    refuses({ model = net(6), batch = 100 }, "for 24 images the model gives {24,6}, wanted {24,2}")
    refuses({ model = net(2), loss = { "cross_entropy", weight = { 1, 2, 3 } } },
      "Trainer: loss: weight is {3}, wanted a number for each of the 2 classes")
    refuses({ model = net(2), loss = { "focal_loss", alpha = { 1 } } },
      "Trainer: loss: alpha is {1}, wanted a number for each of the 2 classes")
    for name, option in pairs { cross_entropy = "weight", focal_loss = "alpha" } do
      local ok, message = pcall(tr.Trainer, { model = net(2),
        loss = { name, [option] = { 0, 0 } } })
      assert.is_false(ok)
      assert.matches(name .. ": " .. option .. " is {0, 0}: the weights of all classes are 0", message, 1, true)
    end
  end)

  it("never takes an epoch with a validation loss of NaN for the best, also after a resume", function()
    local dir, val = support.folder(), toy(6, 2)
    local function spoiled(logits, labels)
      local loss = tr.nn.functional.cross_entropy(logits, labels)
      return labels:numel() == 6 and loss * (0 / 0) or loss
    end
    for _, epochs in ipairs { 2, 4 } do
      local trainer = tr.Trainer(options { epochs = epochs, dir = dir, resume = true, loss = spoiled })
      trainer:fit(toy(40, 1), val)
      assert.equal(epochs, #trainer.history)
      assert.is_nil(trainer.best)
      for _, entry in ipairs(trainer.history) do assert.is_true(entry.val_loss ~= entry.val_loss) end
    end
  end)

  it("gives the memory of its steps back", function()
    local trainer, set = tr.Trainer(options { epochs = 3 }), toy(40, 1)
    trainer:fit(set)
    collectgarbage()
    local before = tr.live_bytes()
    trainer:fit(set)
    collectgarbage()
    assert.equal(before, (tr.live_bytes()))
  end)
end)
