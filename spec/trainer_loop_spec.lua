--- The training as a loop in the script's hands, and what goes on in it: events, callbacks, accumulation, averages,
-- snapshots, trials, operating points.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local metrics = require "texres.metrics"
local support = require "spec.support"
local terminal = require "texres.terminal"

local nn = tr.nn

--- Two classes of small noisy images that differ in brightness.
local function toy(count, seed, hard)
  tr.manual_seed(seed)
  local labels = {}
  for i = 1, count do labels[i] = i % 2 + 1 end
  local shift = (tr.tensor(labels):to "f32" - 1.5):reshape(count, 1, 1, 1) * (hard or 1)
  return tr.data.tensors {
    images = tr.randn(count, 4, 4, 1) + shift, labels = tr.tensor(labels, { dtype = "i64" }),
    classes = { "good", "bright" },
  }
end

local function model(seed)
  tr.manual_seed(seed or 3)
  return nn.Sequential {
    { conv = nn.Conv2d(1, 4, 3, { padding = 1 }) }, { norm = nn.BatchNorm(4) }, nn.ReLU(), nn.GlobalAvgPool(),
    { fc = nn.Linear(4, 2) },
  }
end

local function trainer_of(changes)
  local o = { model = model(), optimizer = { "adamw", lr = 0.02 }, epochs = 3, batch = 8, seed = 5, quiet = true }
  for name, value in pairs(changes or {}) do o[name] = value end
  return tr.Trainer(o)
end

local function weights_of(m)
  local all = {}
  for name, t in pairs(m:state_dict()) do all[name] = t:flatten():totable() end
  return all
end

local train, val = toy(44, 1), toy(20, 2)
local warn = tr.warn

describe("what only looks at a network", function()
  it("changes nothing of it: a report, a summary, a drawing, a profile, features of a picture", function()
    local none = trainer_of()
    none:fit(train)
    local trainer = trainer_of { dir = support.folder() }
    trainer:fit(train)
    assert.same(weights_of(none.model), weights_of(trainer.model))
    assert.equal(none:evaluate(val).loss, trainer:evaluate(val).loss)

    local net = model()
    net:children()[1][2]:eval() -- part of it
    local x, dir = tr.randn(2, 4, 4, 1), support.folder()
    local before, seed, stream = weights_of(net), core.rng_state()
    require("texres.report.inside").pictures(net, x:slice(1, 1, 1), dir)
    net:summary { 2, 4, 4, 1 }
    net:draw(dir .. "/net.svg", { 2, 4, 4, 1 })
    net:profile(x, { backward = true, repeats = 1 })
    assert(tr.save(dir .. "/net.safetensors", { model = net }))
    assert(tr.onnx.export(dir .. "/net.onnx", net, { input = { 4, 4, 1 } }))
    assert.same(before, weights_of(net))
    assert.is_false(net:children()[1][2].training)
    assert.is_true(net:children()[2][2].training)
    local seed_after, stream_after = core.rng_state()
    assert.same({ seed, stream }, { seed_after, stream_after })
  end)
end)

describe("the files of a run that was killed while the last of them were written", function()
  it("are written by the next call, which has nothing else to do; those that are whole are left alone", function()
    local dir = support.folder()
    local function path(name) return dir .. "/" .. name end
    local during
    trainer_of({ dir = dir, callbacks = { function(event)
      if event.kind == "checkpoint" and event.epoch == 3 then
        local run = support.read_file(path "run.json")
        during = { ["run.json"] = run, ["report.html"] = "half", ["run.json.tmp-0"] = "{" }
      end
    end } }):fit(train, val)
    local names = core.list_folder(dir)
    for name, text in pairs(during) do support.write_file(path(name), text) end
    trainer_of({ dir = dir, resume = true }):fit(train, val)
    assert.same(names, core.list_folder(dir))
    assert.matches("first filters", support.read_file(path "report.html"), 1, true)
    support.write_file(path "report.html", "mine")
    trainer_of({ dir = dir, resume = true }):fit(train, val)
    assert.equal("mine", support.read_file(path "report.html"))
  end)
end)

describe("trainer:run", function()
  it("tells steps, epochs, checkpoints and the end, and gives fit's weights", function()
    local dir = support.folder()
    local trainer, kinds, steps = trainer_of { dir = dir }, {}, 0
    for event in trainer:run(train, val) do
      if event.kind == "step" then
        steps = steps + 1
        assert.equal(steps, event.step)
        assert.equal((steps - 1) % 6 + 1, event.batch)
        assert.equal(event.batch == 6 and 4 or 8, event.images)
        assert.is_true(event.loss > 0 and event.lr == 0.02)
      else
        kinds[#kinds + 1] = event.kind
      end
      if event.kind == "epoch" then
        assert.equal(trainer.history[event.epoch].val_accuracy, event.val_accuracy)
        assert.equal(event.val_accuracy, event.validation.accuracy)
        assert.is_boolean(event.better)
      elseif event.kind == "checkpoint" then
        assert.equal(dir .. "/last.safetensors", event.path)
      elseif event.kind == "end" then
        assert.same({ "finished", 3, 18 }, { event.reason, event.epochs, event.steps })
      end
    end
    assert.equal("epoch checkpoint epoch checkpoint epoch checkpoint end", table.concat(kinds, " "))
    local fitted = trainer_of()
    fitted:fit(train, val)
    assert.same(weights_of(fitted.model), weights_of(trainer.model))
  end)

  it("goes on after a break with the same weights as without one", function()
    local whole = trainer_of()
    whole:fit(train, val)
    for _, dir in ipairs { false, support.folder() } do
      local trainer = trainer_of { dir = dir or nil }
      for event in trainer:run(train, val) do
        if event.kind == "step" and event.step == 8 then break end
      end
      assert.equal(8, trainer.steps)
      if dir then trainer = trainer_of { dir = dir, resume = true, model = model(9) } end
      for event in trainer:run(train, val) do
        if event.kind == "epoch" and event.epoch == 2 then break end
      end
      trainer:fit(train, val)
      assert.same(weights_of(whole.model), weights_of(trainer.model))
      assert.equal(18, trainer.steps)
    end
  end)

  it("ends in order when the loop's body raises, and lets go of the folder", function()
    local dir = support.folder()
    local trainer = trainer_of { dir = dir }
    assert.error_matches(function()
      for event in trainer:run(train, val) do
        if event.kind == "step" and event.step == 3 then error "mine" end
      end
    end, "mine")
    local again = trainer_of { dir = dir, resume = true, model = model(9) }
    again:fit(train, val)
    local whole = trainer_of()
    whole:fit(train, val)
    assert.same(weights_of(whole.model), weights_of(again.model))
  end)

  it("ends with the weights that are kept when it is told to stop", function()
    local trainer, kinds = trainer_of(), {}
    for event in trainer:run(train, val) do
      kinds[#kinds + 1] = event.kind ~= "step" and event.kind or nil
      if event.kind == "epoch" and event.epoch == 2 then trainer:stop() end
    end
    assert.same({ "epoch", "epoch", "end" }, kinds)
    assert.near(trainer.best.val_loss, trainer:evaluate(val).loss, 1e-6)
  end)

  it("is the only run of its trainer while it lasts", function()
    local trainer = trainer_of()
    for event in trainer:run(train, val) do
      if event.kind == "step" and event.step == 2 then
        assert.error_matches(function() trainer:fit(train, val) end, "a run of this trainer is under way")
      end
    end
    assert.equal(18, trainer.steps)
  end)

  it("ends by patience also where the last epoch is kept", function()
    local trainer = trainer_of { epochs = 30, patience = 2, keep = "last", optimizer = { "adamw", lr = 1e-9 } }
    local best = trainer_of { epochs = 30, patience = 2, optimizer = { "adamw", lr = 1e-9 } }
    assert.equal(#best:fit(train, val), #trainer:fit(train, val))
    assert.is_true(#trainer.history < 30)
    assert.equal(#trainer.history, trainer.best.epoch)
  end)

  it("says before the first step that temperature and operating point can't be chosen", function()
    local function refused(changes, set, message)
      assert.error_matches(function() trainer_of(changes):fit(train, set) end, message)
    end
    refused({ calibrate = true }, nil, "calibrate is chosen on validation images")
    refused({ operating_point = { escape = 0 } }, nil, "operating_point is chosen on validation images")
    refused({ operating_point = { escape = 0, good = "fine" } }, val, "0 are of the class 'fine'")
    assert.error_matches(function() trainer_of { operating_point = { escapes = 0 } } end, "unknown option 'escapes'")
  end)

  it("accumulates a loss that is a sum to the step's sum", function()
    local function fitted(batch, accumulate)
      tr.manual_seed(4)
      local trainer = tr.Trainer { model = nn.Sequential { nn.Flatten(), nn.Linear(16, 2) }, epochs = 1, batch = batch,
        accumulate = accumulate, optimizer = { "sgd", lr = 1e-3 }, loss = { "cross_entropy", reduction = "sum" },
        quiet = true }
      trainer:fit(toy(32, 1))
      return trainer.model[2].weight
    end
    assert.is_true(tr.allclose(fitted(16, 1), fitted(8, 2), 1e-5, 1e-6))
  end)

  it("may be looked at between its events, which changes no weight", function()
    local function noisy_model()
      tr.manual_seed(3)
      return nn.Sequential { nn.Conv2d(1, 4, 3, { padding = 1 }), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.3),
        nn.GlobalAvgPool(), nn.Linear(4, 2) }
    end
    local whole = trainer_of { model = noisy_model() }
    whole:fit(train, val)
    local looks = {
      evaluate = function(t) t:evaluate(val) end,
      pass = function(t) t.model:eval()(tr.randn(2, 4, 4, 1)) end,
      random = function() tr.manual_seed(1) end,
      trial = function(t) t:overfit_batch(train, { steps = 2 }) end,
      another = function() trainer_of({ model = noisy_model(), epochs = 1 }):fit(train) end,
      interrupted = function(t) t:leave() end,
    }
    for name, look in pairs(looks) do
      local trainer = trainer_of { model = noisy_model() }
      for event in trainer:run(train, val) do
        if event.step == 2 or event.step == 9 or event.kind == "epoch" then look(trainer) end
      end
      trainer:fit(train, val)
      assert.same(weights_of(whole.model), weights_of(trainer.model), name)
    end
    local first, second = trainer_of { model = noisy_model() }, trainer_of { model = noisy_model() }
    local one, two = first:run(train, val), second:run(train, val)
    while one() do two() end
    assert.same(weights_of(whole.model), weights_of(first.model))
    assert.same(weights_of(whole.model), weights_of(second.model))
  end)

  it("may be gone through by hand, and left by whoever lost it", function()
    local trainer, whole = trainer_of(), trainer_of()
    whole:fit(train, val)
    local following = trainer:run(train, val)
    following()
    assert.error_matches(function() trainer:fit(train, val) end, "trainer:leave%(%)")
    local hook <close> = trainer.model:watch(function() trainer:leave() end, { layers = "fc" })
    assert.error_matches(following, "a step is at work: leave the run between two events")
    hook:close()
    trainer:leave()
    assert.is_nil(following())
    following = trainer:run(train, val)
    while following() do end -- the last event ends it
    trainer:leave()
    trainer:fit(train, val)
    assert.same(weights_of(whole.model), weights_of(trainer.model))
  end)

  it("ends with the kept weights where it is stopped in the middle of an epoch, and goes on from the last", function()
    local whole = trainer_of()
    whole:fit(train, val)
    for _, dir in ipairs { false, support.folder() } do
      local trainer = trainer_of { dir = dir or nil }
      for event in trainer:run(train, val) do
        if event.kind == "step" and event.step == 15 then trainer:stop() end
      end
      assert.near(trainer.best.val_loss, trainer:evaluate(val).loss, 1e-6)
      assert.equal("epoch " .. trainer.best.epoch, trainer.tests[1].note)
      if dir then trainer = trainer_of { dir = dir, resume = true, model = model(9) } end
      trainer:fit(train, val)
      assert.same(weights_of(whole.model), weights_of(trainer.model))
    end
  end)

  it("leaves the weights that are in the file, in evaluation mode, also where there was no validation", function()
    local trainer = trainer_of { dir = support.folder() }
    trainer:fit(train)
    local kept = assert(checkpoint.load(trainer.dir .. "/best.safetensors")).model
    assert.same(weights_of(kept), weights_of(trainer.model))
    assert.is_false(trainer.model.norm.training)
  end)

  it("may be made longer on its way", function()
    local function rates(steer)
      local trainer, list = trainer_of { schedule = { "polynomial" } }, {}
      for event in trainer:run(train, val) do
        if event.kind == "step" then list[#list + 1] = event.lr end
        if event.kind == "epoch" and event.epoch == 2 then steer(trainer) end
      end
      return list
    end
    local list = rates(function(trainer) trainer.epochs = 4 end)
    assert.equal(24, #list)
    for step = 2, 24 do assert.is_true(list[step] < list[step - 1], "step " .. step) end
  end)

  it("may be steered: another rate, layers that are frozen; and a resumed run is steered alike", function()
    local dir = support.folder()
    local trainer, kept = trainer_of { dir = dir }, nil
    local function steered(event)
      if event.kind == "step" and event.step == 4 then
        trainer.model.norm:freeze()
        trainer.model.conv.weight.requires_grad = false
        kept = weights_of(trainer.model)
        trainer:set_lr(0.001)
        trainer.epochs = 4
      end
      return event.kind == "step" and event.step == 8
    end
    for event in trainer:run(train, val) do
      if event.kind == "step" then assert.equal(event.step <= 4 and 0.02 or 0.001, event.lr) end
      if steered(event) then break end
    end
    local again = trainer_of { dir = support.folder(), resume = true, model = model(9) }
    support.write_file(again.dir .. "/last.safetensors", support.read_file(dir .. "/last.safetensors"))
    support.write_file(again.dir .. "/best.safetensors", support.read_file(dir .. "/best.safetensors"))
    again:fit(train, val)
    trainer:fit(train, val)
    local now = weights_of(trainer.model)
    assert.same(now, weights_of(again.model))
    assert.equal(4, #again.history)
    for name, values in pairs(kept) do
      local stays = name:find "^norm" or name == "conv.weight"
      assert.equal(stays ~= nil and stays ~= false, table.concat(values, " ") == table.concat(now[name], " "), name)
    end
    assert.is_true(trainer.model.norm:unfreeze():train().training)
  end)

  it("says how it is steered where it is not", function()
    local trainer = trainer_of()
    assert.error_matches(function() trainer.lr = 0.1 end, "there is no option 'lr'; trainer:set_lr%(rate%)")
    assert.error_matches(function() trainer.epoch = 10 end, "there is no option 'epoch'")
    assert.error_matches(function() trainer:set_lr(-1) end, "lr is %-1")
    assert.error_matches(function() trainer:set_lr() end, "lr is nil")
    assert.error_matches(function()
      for event in trainer:run(train, val) do
        if event.step == 2 then trainer.optimizer:set_lr(0.001) end
      end
    end, "the schedule sets it before each step: trainer:set_lr%(0.001%) changes it")
    assert.equal(2, trainer.steps)
    local frozen = trainer_of()
    frozen.model:freeze()
    assert.error_matches(function() frozen:fit(train, val) end, "all layers are frozen")
    trainer.callbacks = { 3 }
    assert.error_matches(function() trainer:fit(train, val) end, "callbacks%[1%] is 3, wanted a function")
    trainer.callbacks, trainer.save_every = nil, "often"
    assert.error_matches(function() trainer:fit(train, val) end, 'save_every is "often", wanted a duration')
  end)

  it("calls callbacks with the same events, one of which may end it", function()
    local seen = {}
    local trainer = trainer_of { callbacks = {
      function(event) seen[#seen + 1] = event.kind end,
      function(event, self) return not (event.kind == "epoch" and #self.history == 2) end,
    } }
    trainer:fit(train, val)
    assert.equal(2, #trainer.history)
    assert.equal("end", seen[#seen])
    assert.is_true(trainer.stopped)
    assert.error_matches(function() trainer_of { callbacks = { 3 } } end, "callbacks%[1%] is 3, wanted a function")
  end)
end)

describe("a step", function()
  it("of several batches is one of a large batch", function()
    -- without batch norm, which normalizes each batch by itself
    local function plain_model()
      tr.manual_seed(3)
      return nn.Sequential { nn.Flatten(), nn.Linear(16, 2) }
    end
    local sgd = { "sgd", lr = 0.05, momentum = 0.9 }
    local small = trainer_of { model = plain_model(), optimizer = sgd, batch = 8, accumulate = 3 }
    local large = trainer_of { model = plain_model(), optimizer = sgd, batch = 24 }
    small:fit(train)
    large:fit(train)
    assert.equal(6, small.steps)
    assert.equal(large.steps, small.steps)
    for name, t in pairs(large.model:state_dict()) do
      assert.is_true(tr.allclose(t, small.model:state_dict()[name], 1e-4, 1e-5), name)
    end
    assert.near(large.history[3].loss, small.history[3].loss, 1e-5)
  end)

  it("of several batches weighs its images as the loss does", function()
    local function fitted(batch, accumulate)
      tr.manual_seed(4)
      local trainer = tr.Trainer { model = nn.Sequential { nn.Flatten(), nn.Linear(16, 2) }, epochs = 1, batch = batch,
        accumulate = accumulate, optimizer = { "sgd", lr = 0.05 }, loss = { "cross_entropy", weight = { 1, 5 } },
        quiet = true }
      trainer:fit(toy(36, 1))
      return trainer.model[2].weight
    end
    assert.is_true(tr.allclose(fitted(12, 1), fitted(4, 3), 1e-5, 1e-6))
  end)

  it("goes on in the middle of an epoch where several batches make one", function()
    local whole, dir = trainer_of { accumulate = 2 }, support.folder()
    whole:fit(train, val)
    local cut = trainer_of { accumulate = 2, dir = dir }
    for event in cut:run(train, val) do
      if event.kind == "step" and event.step == 5 then break end
    end
    local again = trainer_of { accumulate = 2, dir = dir, resume = true, model = model(9) }
    again:fit(train, val)
    assert.same(weights_of(whole.model), weights_of(again.model))
  end)

  it("decays weights, and biases and norms only when told so", function()
    local trainer = trainer_of { optimizer = { "adamw", lr = 0.1, weight_decay = 0.5 } }
    assert.same({ 0.5, 0 }, { trainer.optimizer.groups[1].weight_decay, trainer.optimizer.groups[2].weight_decay })
    for _, p in ipairs(trainer.optimizer.groups[1].params) do assert.is_true(p:dim() > 1) end
    for _, p in ipairs(trainer.optimizer.groups[2].params) do assert.equal(1, p:dim()) end
    local all = trainer_of { optimizer = { "adamw", lr = 0.1, weight_decay = 0.5, decay = "all" } }
    assert.equal(1, #all.optimizer.groups)
    assert.error_matches(function() trainer_of { optimizer = { "adamw", decay = "x" } } end, 'decay is "x", wanted')
  end)
end)

describe("averaged weights", function()
  it("are the moving average of those after each step, and are what is validated and kept", function()
    local trainer = trainer_of { ema = 0.9, keep = "last" }
    local mean
    for event in trainer:run(train, val) do
      if event.kind == "step" then
        local now = weights_of(trainer.model)
        mean = mean or weights_of(model())
        local d = math.min(0.9, (1 + event.step) / (10 + event.step))
        for name, values in pairs(mean) do
          for i, value in ipairs(values) do values[i] = d * value + (1 - d) * now[name][i] end
        end
      end
    end
    for name, values in pairs(weights_of(trainer.model)) do
      for i, value in ipairs(values) do assert.near(mean[name][i], value, 1e-4) end
    end
    assert.near(trainer.history[3].val_loss, trainer:evaluate(val).loss, 1e-6)
  end)

  it("come back after a resume, bit for bit", function()
    local whole = trainer_of { ema = 0.9 }
    whole:fit(train, val)
    local dir = support.folder()
    for event in trainer_of({ ema = 0.9, dir = dir }):run(train, val) do
      if event.kind == "step" and event.step == 8 then break end
    end
    local again = trainer_of { ema = 0.9, dir = dir, resume = true, model = model(9) }
    again:fit(train, val)
    assert.same(weights_of(whole.model), weights_of(again.model))
    assert.error_matches(function() trainer_of({ dir = dir, resume = true }):fit(train, val) end, "ema: 0.9 %-> nil")
  end)
end)

describe("what is kept", function()
  it("is the last epoch where that is asked for", function()
    local trainer = trainer_of { keep = "last" }
    local last
    for event in trainer:run(train, val) do
      if event.kind == "step" then last = weights_of(trainer.model) end
    end
    assert.same(last, weights_of(trainer.model))
    assert.equal(3, trainer.best.epoch)
    assert.matches("\n  kept       epoch 3", tostring(trainer))
  end)

  it("are files of the best epochs", function()
    local dir = support.folder()
    local trainer = trainer_of { dir = dir, best_k = 2, epochs = 5, optimizer = { "sgd", lr = 0.3 } }
    trainer:fit(train, val)
    local files, found = core.list_folder(dir), {}
    for _, name in ipairs(files) do
      if name:find "^best%-" then found[#found + 1] = name end
    end
    assert.equal(2, #found)
    assert(tr.load(dir .. ("/best-%04d.safetensors"):format(trainer.best.epoch)))
    trainer_of({ dir = dir, best_k = 1, epochs = 1 }):fit(train, val) -- another run, in whose place nothing stays
    found = {}
    for _, name in ipairs(core.list_folder(dir)) do found[#found + 1] = name:match "^best%-.*" end
    assert.same({ "best-0001.safetensors" }, found)
  end)

  it("is told of a test as what was tested: the kept epoch after the end, the last one in a loop", function()
    local loss, trainer = nn.functional.cross_entropy, nil
    trainer = trainer_of { loss = function(logits, labels) -- of which the first epoch is the best
      return (trainer.model.training or #trainer.history == 0) and loss(logits, labels) or tr.tensor(0 / 0)
    end }
    for event in trainer:run(train, val) do
      if event.kind == "epoch" and event.epoch == 2 then
        trainer:evaluate(val, "within")
        break
      end
    end
    trainer:evaluate(val, "left")
    trainer:fit(train, val)
    trainer:evaluate(val, "ended")
    local notes = {}
    for i, test in ipairs(trainer.tests) do notes[i] = test.note end
    assert.same({ "epoch 2", "epoch 2", "epoch 1" }, notes)
  end)

  it("is never an epoch whose loss is not a number", function()
    local history, losses = require "texres.trainer.history", { 0.7, 0 / 0, 0.6, 0 / 0, 0.8, 0.5 }
    local list, accuracies = {}, { 0.7, 0.9, 0.8, 0.6, 0.8, 0.75 }
    for i, loss in ipairs(losses) do
      list[i] = { epoch = i, loss = 0.1, accuracy = 0.5, val_loss = loss, val_accuracy = accuracies[i] }
    end
    assert.equal(3, history.best_epoch(list))
    for _, bad in ipairs { 2, 4 } do
      for _, good in ipairs { 1, 3, 5, 6 } do
        assert.is_true(history.is_better(list[good], list[bad]))
        assert.is_false(history.is_better(list[bad], list[good]))
      end
    end
    local dir, loss, trainer = support.folder(), nn.functional.cross_entropy, nil
    trainer = trainer_of { dir = dir, best_k = 2, loss = function(logits, labels)
      return (trainer.model.training or #trainer.history == 1) and loss(logits, labels) or tr.tensor(0 / 0)
    end }
    trainer:fit(train, val)
    assert.equal(2, trainer.best.epoch)
    local kept = {}
    for _, name in ipairs(core.list_folder(dir)) do kept[#kept + 1] = name:match "^best.*" end
    assert.same({ "best-0002.safetensors", "best.safetensors" }, require("texres.plain").sort(kept))
  end)

  it("keeps no epoch whose validation loss is NaN among the best few, before a resume and after it", function()
    for _, stop in ipairs { 0, 1, 2, 3, 4 } do
      local dir, trainer = support.folder(), nil
      local function loss(logits, labels)
        local mean = nn.functional.cross_entropy(logits, labels)
        local epoch = #trainer.history + 1
        return not trainer.model.training and (epoch == 1 or epoch == 4) and mean * (0 / 0) or mean
      end
      local function new(resume)
        trainer = trainer_of { dir = dir, best_k = 2, epochs = 5, loss = loss, resume = resume }
      end
      new(false)
      for event in trainer:run(train, val) do
        if event.kind == "checkpoint" and event.epoch == stop then break end
      end
      if stop > 0 then
        tr.warn = function() end -- a loss of the script can't be compared
        new(true)
        trainer:fit(train, val)
        tr.warn = warn
      end
      local found = {}
      for _, name in ipairs(core.list_folder(dir)) do found[#found + 1] = name:match "^best%-(%d+)" end
      local judged = { trainer.history[2], trainer.history[3], trainer.history[5] }
      table.sort(judged, function(a, b)
        if a.val_accuracy ~= b.val_accuracy then return a.val_accuracy > b.val_accuracy end
        return a.val_loss < b.val_loss
      end)
      local wanted = { ("%04d"):format(judged[1].epoch), ("%04d"):format(judged[2].epoch) }
      table.sort(wanted)
      assert.same(wanted, found)
      assert.equal(judged[1].epoch, trainer.best.epoch)
    end
  end)

  it("has no operating point, and says so, where validation images have no prediction", function()
    local net, said = model(), {}
    function net:forward(x)
      local y = nn.Sequential.forward(self, x)
      return self.training and y or y * (0 / 0)
    end
    local trainer = trainer_of { model = net, keep = "last", calibrate = true, operating_point = { escape = 0.1 } }
    tr.warn = function(text) said[#said + 1] = text end
    trainer:fit(train, val)
    tr.warn = warn
    assert.matches(("no operating point is chosen: %d of %d validation images"):format(#val, #val),
      table.concat(said, "\n"), 1, true)
    assert.is_nil(require("texres.input").of(net).operating_point)
  end)

  it("has a temperature and an operating point of its validation images", function()
    local dir = support.folder()
    local trainer = trainer_of { dir = dir, calibrate = true, operating_point = { false_reject = 0.2 }, keep = "last" }
    local hard_train, hard_val = toy(44, 1, 0.2), toy(40, 2, 0.2)
    trainer:fit(hard_train, hard_val)
    local clf = assert(tr.load(dir .. "/best.safetensors"))
    local result = clf:evaluate(hard_val)
    assert.near(1, result:temperature(), 1e-3)
    assert.near(result.loss, trainer.validation.loss, 1e-6)
    assert.near(result:log_loss(), trainer.validation:log_loss(), 1e-6)
    assert.near(result.loss, trainer:evaluate(hard_val).loss, 1e-6)
    assert.is_true(trainer.history[3].val_loss > result.loss + 1e-4)
    assert.is_true(clf.operating_point.false_reject.value <= 0.2)
    local now = result:at_operating_point(clf.operating_point)
    assert.near(clf.operating_point.false_reject.value, now.false_reject.value, 1e-9)
    assert.near(clf.operating_point.escape.value, now.escape.value, 1e-9)
    assert.equal(clf.operating_point.threshold, require("texres.input").of(trainer.model).operating_point.threshold)
    local again = trainer_of { dir = dir, resume = true, model = model(9), keep = "last", calibrate = true,
      operating_point = { false_reject = 0.2 } }
    again:fit(hard_train, hard_val)
    assert.equal(clf.operating_point.threshold, require("texres.input").of(again.model).operating_point.threshold)
    again.epochs = 4
    again:fit(hard_train, hard_val)
    assert.is_nil(trainer_of({ model = again.model, epochs = 1, keep = "last" }):fit(hard_train)
      and require("texres.input").of(again.model).operating_point)
  end)

  it("has the operating point that is asked for after the training, too", function()
    for _, dir in ipairs { false, support.folder() } do
      local trainer = trainer_of { dir = dir or nil }
      trainer:fit(train, val)
      local weights = weights_of(trainer.model)
      for _, rule in ipairs { { false_reject = 0.5 }, { escape = 0 } } do
        if dir then trainer = trainer_of { dir = dir, resume = true, model = model(9) } end
        trainer.operating_point = rule
        trainer:fit(train, val)
        local point = require("texres.input").of(trainer.model).operating_point
        assert.equal(tostring(trainer.validation:operating_point(rule)), tostring(point))
        if dir then
          assert.equal(tostring(point), tostring(tr.load(dir .. "/best.safetensors").operating_point))
        end
      end
      assert.same(weights, weights_of(trainer.model))
    end
  end)

  it("has no temperature where no validation image is wrong, as none would be the best", function()
    local trainer = trainer_of { calibrate = true, epochs = 4, optimizer = { "adamw", lr = 0.05 } }
    local easy = toy(40, 2, 6)
    trainer:fit(toy(44, 1, 6), easy)
    assert.equal(1, trainer.validation.accuracy)
    assert.is_nil(require("texres.input").of(trainer.model).temperature)
  end)

  it("is written in the middle of an epoch after save_every", function()
    local written = 0
    for event in trainer_of({ dir = support.folder(), save_every = "0.001 ms", epochs = 1 }):run(train, val) do
      if event.kind == "checkpoint" and event.batch then written = written + 1 end
    end
    assert.is_true(written >= 2)
    assert.error_matches(function() trainer_of { save_every = "often" } end, 'save_every is "often", wanted a duration')
    assert.same({ 90, 300, 5400, 0.25 }, { terminal.seconds(90), terminal.seconds "5min", terminal.seconds "1.5 h",
      terminal.seconds "250ms" })
    for _, text in ipairs { "", "5", "min", "5 days", 0, -1, "0 s", true } do assert.is_nil(terminal.seconds(text)) end
  end)
end)

describe("the loader of a trainer", function()
  it("takes balanced, weights, workers and cache", function()
    local picked = {}
    for i = 1, 44 do
      if i % 2 == 0 or i < 12 then picked[#picked + 1] = i end
    end
    local few = train:subset(picked)
    local counts = { 0, 0 }
    local trainer = trainer_of { balanced = true, epochs = 1, workers = 0, cache = true, loss = function(logits, labels)
      if logits.requires_grad then
        for _, label in ipairs(labels:totable()) do counts[label] = counts[label] + 1 end
      end
      return tr.nn.functional.cross_entropy(logits, labels)
    end }
    trainer:fit(few)
    assert.is_true(math.abs(counts[1] - counts[2]) <= 2)
    local drawn = {}
    trainer_of({ weights = { 1, 0 }, epochs = 1, loss = function(logits, labels)
      if logits.requires_grad then
        for _, label in ipairs(labels:totable()) do drawn[label] = true end
      end
      return tr.nn.functional.cross_entropy(logits, labels)
    end }):fit(train)
    assert.same({ true }, drawn)
    assert.error_matches(function() trainer_of({ balanced = true, weights = { 1, 2 } }):fit(train) end, "not both")
  end)
end)

describe("schedules", function()
  it("fall by a factor, along a power, and where the loss stays", function()
    local s = tr.optim.schedule
    local e = s.exponential { lr = 1, final = 0.01 }
    assert.near(1, e:lr(1, 101), 1e-12)
    assert.near(0.1, e:lr(51, 101), 1e-12)
    assert.near(0.01, e:lr(101, 101), 1e-12)
    local p = s.polynomial { lr = 1, power = 2, min = 0.1 }
    assert.same({ 1, 0.1 + 0.9 * 0.25, 0.1 }, { p:lr(1, 11), p:lr(6, 11), p:lr(11, 11) })
    local plateau = s.plateau { lr = 1, factor = 0.5, patience = 1, min = 0.2 }
    local function history(...)
      local list = {}
      for i, loss in ipairs { ... } do list[i] = { loss = 9, val_loss = loss } end
      return list
    end
    -- as torch.optim.lr_scheduler.ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.2)
    assert.equal(1, plateau:lr(1, 9))
    assert.equal(1, plateau:lr(5, 9, history(3, 2, 2.5)))
    assert.equal(0.5, plateau:lr(5, 9, history(3, 2, 2.5, 2)))
    assert.equal(0.5, plateau:lr(5, 9, history(3, 2, 2.5, 2, 2.1)))
    assert.equal(0.25, plateau:lr(5, 9, history(3, 2, 2.5, 2, 2.1, 0 / 0)))
    assert.equal(0.2, plateau:lr(5, 9, history(3, 2, 2.5, 2, 2.1, 2.2, 3, 3)))
  end)

  it("of a plateau steer a training, also after a resume", function()
    local options = { schedule = { "plateau", patience = 0, factor = 0.5, threshold = 0.9 }, epochs = 4 }
    local whole = trainer_of(options)
    whole:fit(train, val)
    assert.same({ 0.02, 0.02, 0.01, 0.005 }, { whole.history[1].lr, whole.history[2].lr, whole.history[3].lr,
      whole.history[4].lr })
    options.dir, options.epochs = support.folder(), 2
    trainer_of(options):fit(train, val)
    options.epochs, options.resume, options.model = 4, true, model(9)
    local again = trainer_of(options)
    again:fit(train, val)
    assert.same(weights_of(whole.model), weights_of(again.model))
  end)
end)

describe("trials", function()
  it("find a learning rate, and leave everything as it was", function()
    local trainer = trainer_of { optimizer = { "sgd", lr = 0.1 } }
    tr.manual_seed(1)
    local before, state = weights_of(trainer.model), { core.rng_state() }
    assert.error_matches(function() trainer:find_lr(train, { low = 1, high = 0.1 }) end, "low is 1, not below high")
    local found = trainer:find_lr(train, { low = 1e-4, high = 100, steps = 40 })
    assert.same(before, weights_of(trainer.model))
    assert.same(state, { core.rng_state() })
    assert.is_true(found.suggestion > 1e-3 and found.suggestion < 50)
    assert.near(1e-4, found[1].lr, 1e-12)
    assert.is_true(#found <= 40)
    assert.matches("learning rate: try .*, or up to .* in a one_cycle\n", tostring(found))
    local least = found[1]
    for _, point in ipairs(found) do
      if point.loss < least.loss then least = point end
    end
    assert.equal(math.max(found.suggestion, least.lr / 10), found.highest)
    local blind = trainer:find_lr(train, { low = 1e-30, high = 1e-20, steps = 10 }) -- a float changes by none of these
    assert.equal(blind.suggestion == nil, blind.highest == nil)
    assert.equal(0, trainer.steps)
  end)

  it("tell a network that can learn one batch from one that can't", function()
    local fits = trainer_of({ optimizer = { "adamw", lr = 0.05 } }):overfit_batch(train, { steps = 60 })
    assert.is_true(fits.fits)
    assert.matches("the network can learn: after 60 steps on one batch", tostring(fits))
    local blind = nn.Sequential { nn.Flatten(), nn.Linear(16, 2), nn.Dropout(1) }
    local stuck = trainer_of({ model = blind }):overfit_batch(train, { steps = 20 })
    assert.is_false(stuck.fits)
    assert.matches("does not learn even one batch", stuck.verdict)
  end)

  it("measure running statistics anew as the mean over batches", function()
    local trainer = trainer_of()
    trainer.model.norm.running_mean:fill(7)
    assert.equal(4, trainer:recalibrate(train, { batches = 4 }))
    local takes, sum = trainer.model.norm.running_mean:totable(), nil
    assert.equal(0.1, trainer.model.norm.momentum)
    local stats = train:statistics()
    local loader = train:loader { batch = 8, shuffle = true, seed = 5, mean = stats.mean, std = stats.std }
    local n = 0
    for images in loader:batches(1) do
      n = n + 1
      if n <= 4 then
        local mean = tr.no_grad(function() return trainer.model.conv(images):mean { 1, 2, 3 } end)
        sum = sum and sum + mean or mean
      end
    end
    for c, value in ipairs((sum / 4):totable()) do assert.near(value, takes[c], 1e-5) end
  end)
end)

describe("evaluate", function()
  it("of a trainer takes views", function()
    local trainer = trainer_of { epochs = 1 }
    trainer:fit(train, val)
    local one, eight = trainer:evaluate(val), trainer:evaluate(val, "Test", { views = 8 })
    assert.is_false(tr.allclose(one.scores, eight.scores, 0, 0))
    assert.is_true(getmetatable(metrics.join { one, eight }) == getmetatable(one))
    assert.error_matches(function() trainer:evaluate(val, "Test", { view = 8 }) end, "unknown option 'view'")
  end)
end)
