--- A run that goes on is the same run: its identity, what may change, what a refusal leaves, two runs in one folder.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local course = require "texres.trainer.course"
local json = require "texres.json"
local safetensors = require "texres.safetensors"
local support = require "spec.support"

local nn = tr.nn

-- -- small runs -------------------------------------------------------------------------------------------------------

local function pictures(count, seed, change)
  tr.manual_seed(seed)
  local images, labels = tr.rand(count, 4, 4, 1), {}
  for i = 1, count do labels[i] = i % 2 + 1 end
  if change then change(images, labels) end
  return tr.data.tensors {
    images = images, labels = tr.tensor(labels, { dtype = "i64" }), classes = { "plain", "bright" },
  }
end

local function model(seed)
  tr.manual_seed(seed or 3)
  return nn.Sequential { nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2) }
end

local function options(changes)
  local o = {
    model = model(), optimizer = { "sgd", lr = 0.02, momentum = 0.9 }, schedule = { "one_cycle" }, epochs = 4,
    batch = 8, seed = 5, quiet = true,
  }
  for key, value in pairs(changes or {}) do o[key] = value end
  return o
end

local function trainer_of(changes) return tr.Trainer(options(changes)) end

--- Every bit of the weights, the optimizer's state and the generator, and what the trainer has found out.
local function whole_state(trainer)
  local o = trainer.optimizer:state_dict()
  local all = { weights = {}, optimizer = o, random = { core.rng_state() }, steps = trainer.steps,
    epochs = #trainer.history, classes = trainer.classes, training = trainer.model.training }
  for name, t in pairs(trainer.model:state_dict()) do all.weights[name] = t:flatten():totable() end
  for _, entry in pairs(o.state) do
    for key, value in pairs(entry) do
      if tr.is_tensor(value) then entry[key] = value:flatten():totable() end
    end
  end
  return all
end

local function weights(trainer) return whole_state(trainer).weights end

local function message_of(f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  return message
end

--- A trainer that presses Ctrl-C after `step` steps, by way of the loss.
local function stops_at(trainer, step)
  local count, loss = 0, tr.nn.functional.cross_entropy
  trainer.loss = function(logits, labels)
    if trainer.model.training then
      count = count + 1
      if count == step then io.popen("kill -INT $PPID"):close() end
    end
    return loss(logits, labels)
  end
  return trainer
end

local warned
local warn = tr.warn
before_each(function()
  warned = {}
  tr.warn = function(message) warned[#warned + 1] = message end
end)
after_each(function() tr.warn = warn end)

-- ---------------------------------------------------------------------------------------------------------------------

describe("a resume", function()
  local dir, train, val = support.folder(), pictures(40, 1), pictures(16, 2)
  trainer_of({ dir = dir, epochs = 1 }):fit(train, val)

  local function refused(changes, other_train, other_val)
    changes.dir, changes.resume, changes.epochs = dir, true, 2
    changes.model = changes.model or model(99)
    local trainer = trainer_of(changes)
    tr.manual_seed(77)
    tr.rand(3)
    local before = whole_state(trainer)
    local message = message_of(function() trainer:fit(other_train or train, other_val or val) end)
    assert.matches("^spec/resume_spec.lua:%d+: Trainer: can't resume .*/last.safetensors: it is another run", message)
    assert.same(before, whole_state(trainer))
    return message
  end

  for name, case in pairs {
    momentum = { { optimizer = { "sgd", lr = 0.02, momentum = 0.5 } }, "optimizer.momentum: 0.9 %-> 0.5" },
    weight_decay = { { optimizer = { "sgd", lr = 0.02, momentum = 0.9, weight_decay = 0.1 } },
      "optimizer.weight_decay: 0 %-> 0.1" },
    optimizer = { { optimizer = { "adamw" } }, "optimizer: SGD %-> AdamW" },
    schedule = { { schedule = { "cosine" } }, 'schedule: one_cycle {.*} %-> cosine {min = 0, warmup = 0}' },
    ["an option of the schedule"] = { { schedule = { "one_cycle", start = 0.5 } },
      "schedule: .*start = 0.3.* %-> .*start = 0.5.*" },
    augment = { { augment = { "flip", { "rotate", degrees = 10 } } },
      'augment: nil %-> {"flip", {"rotate", degrees = 10}}' },
    loss = { { loss = { "cross_entropy", label_smoothing = 0.1 } },
      'loss: "cross_entropy" %-> {"cross_entropy", label_smoothing = 0.1}' },
    ["a loss of the script"] = { { loss = function() end }, 'loss: "cross_entropy" %-> a function.*' },
    clip = { { clip_grad_norm = 1 }, "clip_grad_norm: nil %-> 1" },
    seed = { { seed = 6 }, "seed: 5 %-> 6" },
    batch = { { batch = 4 }, "batch: 8 %-> 4" },
    normalize = { { normalize = false }, "normalization: {mean = .*} %-> nil" },
    dropout = { { model = nn.Sequential {
      nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2),
    } }, "model: .*checksum %x+ %-> .*checksum %x+" },
  } do
    it("is refused for another " .. name .. ", and leaves everything as it was", function()
      assert.matches("\n  " .. case[2] .. "\n", refused(case[1]))
    end)
  end

  it("brings back what each image of the validation set was given", function()
    local whole = support.folder()
    local first = trainer_of { dir = whole, epochs = 1 }
    first:fit(train, val)
    local second = trainer_of { dir = whole, epochs = 1, resume = true, model = model(99) }
    second:fit(train, val)
    assert.same(first.validation.scores:totable(), second.validation.scores:totable())
    assert.same(val.label, second.validation.labels:totable())
  end)

  it("is refused for other data: a pixel, a label, an image more, the order, the validation part", function()
    assert.matches("training images: 40, .* %-> 40,", refused({}, pictures(40, 1, function(images)
      images[17][2][3]:fill(0.123)
    end)))
    assert.matches("training labels", refused({}, pictures(40, 1, function(_, labels)
      labels[3], labels[4] = labels[4], labels[3]
    end)))
    assert.matches("training images: 40, .* %-> 41,", refused({}, pictures(41, 1)))
    assert.matches("training images", refused({}, train:shuffle(3)))
    assert.matches("validation images: 16, .* %-> 16,", refused({}, train, pictures(16, 3)))
    assert.matches("classes: .*plain.* %-> ", refused({}, train:relabel { plain = "a", bright = "b" },
      val:relabel { plain = "a", bright = "b" }))
  end)

  it("tells of all that differs at once", function()
    local message = refused { seed = 1, batch = 4, augment = { "flip" } }
    for _, name in ipairs { "augment", "batch", "seed" } do assert.matches("\n  " .. name .. ": ", message) end
  end)

  it("lists functions as the same, and warns that it can't compare them", function()
    local own = support.folder()
    local function loss(logits, labels) return tr.nn.functional.cross_entropy(logits, labels) end
    trainer_of({ dir = own, epochs = 1, loss = loss }):fit(train)
    assert.same({}, warned)
    trainer_of({ dir = own, epochs = 2, loss = loss, resume = true, schedule = "constant" })
    trainer_of({ dir = own, epochs = 1, loss = loss, resume = true }):fit(train)
    assert.matches("can't compare what is a function or an object of the script: loss", warned[1])
  end)

  it("of a damaged file is refused, wherever it is damaged, and leaves everything as it was", function()
    local path = dir .. "/last.safetensors"
    local text = support.read_file(path)
    local function check(damaged)
      support.write_file(path, damaged)
      local trainer = trainer_of { dir = dir, resume = true, epochs = 2, model = model(99) }
      local before = whole_state(trainer)
      assert.matches("Trainer: can't resume: .*last.safetensors", message_of(function() trainer:fit(train, val) end))
      assert.same(before, whole_state(trainer))
    end
    for _, share in ipairs { 0, 0.2, 0.5, 0.9, 0.999 } do
      local at = math.floor(share * #text)
      check(text:sub(1, at)) -- cut short
      check(text:sub(1, at) .. string.char(text:byte(at + 1) ~ 16) .. text:sub(at + 2)) -- a flipped bit
    end
    support.write_file(path, text)
  end)

  it("of a file that is there and can't be read is refused, rather than begun anew", function()
    local folder = support.folder()
    assert(trainer_of { dir = folder, epochs = 1 }:fit(pictures(16, 1), pictures(8, 2)))
    assert(os.remove(folder .. "/last.safetensors"))
    assert(os.execute("mkfifo " .. folder .. "/last.safetensors"))
    local message = message_of(function()
      trainer_of { dir = folder, epochs = 1, resume = true }:fit(pictures(16, 1), pictures(8, 2))
    end)
    assert.matches("can't resume: " .. folder .. "/last.safetensors: is a named pipe", message, 1, true)
  end)

  it("without the weights of its best epoch is refused before anything is changed", function()
    local path = dir .. "/best.safetensors"
    local text = support.read_file(path)
    for _, damaged in ipairs { "", text:sub(1, #text // 2), false } do
      if damaged then support.write_file(path, damaged) else os.remove(path) end
      local trainer = trainer_of { dir = dir, resume = true, epochs = 2, model = model(99) }
      local before = whole_state(trainer)
      assert.matches("Trainer: can't resume: .*best.safetensors", message_of(function() trainer:fit(train, val) end))
      assert.same(before, whole_state(trainer))
    end
    support.write_file(path, text)
  end)

  it("of a file that says nonsense, though its checksums are right, is refused as well", function()
    local path = dir .. "/last.safetensors"
    local text = support.read_file(path)
    local function check(change)
      local tensors, metadata = assert(safetensors.load(path))
      local info = json.decode(metadata.texres)
      change(info.extra, tensors)
      assert(safetensors.save(path, tensors, { texres = json.encode(info) }))
      local trainer = trainer_of { dir = dir, resume = true, epochs = 2, model = model(99) }
      local before = whole_state(trainer)
      local message = message_of(function() trainer:fit(train, val) end)
      assert.matches("Trainer: can't resume", message)
      assert.is_nil(message:find("attempt to", 1, true))
      assert.same(before, whole_state(trainer))
      support.write_file(path, text)
    end
    for _, field in ipairs { "identity", "optimizer", "history", "steps", "course", "random" } do
      check(function(extra) extra[field] = nil end)
      check(function(extra) extra[field] = "x" end)
    end
    check(function(extra) extra.steps = -1 end)
    check(function(extra) extra.best = 7 end)
    check(function(extra) extra.history = { 1 } end)
    check(function(extra) extra.pass = { epoch = 9, batch = 1, seconds = 1 } end)
    check(function(extra) extra.pass = { epoch = 2, batch = 1, seconds = 1 } end)
    check(function(extra) extra.validation = { counts = { { 1 } }, invalid = { 0 } } end)
    check(function(extra) extra.random.stream = "x" end)
    check(function(extra) extra.course.position = {} end)
    check(function(extra) extra.optimizer.groups[1].momentum = 7 end)
    check(function(extra) extra.optimizer.groups[1].count = 1 end)
    check(function(extra) extra.optimizer.groups = {} end)
    check(function(extra) extra.optimizer.state["9"] = { step = 1 } end)
    check(function(_, tensors) tensors["training/optimizer.1.velocity"] = tr.zeros(3) end)
    check(function(_, tensors) tensors["training/optimizer.x"] = tr.zeros(3) end)
    check(function(_, tensors) tensors["training/validation.scores"] = tr.zeros(3, 2) end)
    check(function(_, tensors) tensors["training/validation.scores"] = nil end)
    for name in pairs(model():state_dict()) do
      check(function(_, tensors) tensors[name] = tr.zeros(1) end)
      check(function(_, tensors) tensors[name] = nil end)
    end
    assert.is_table(checkpoint.read(path))
  end)
end)

describe("what may change on purpose", function()
  local train, val = pictures(40, 1), pictures(16, 2)

  --- The rate of each step of a fit.
  local function rates(trainer)
    local list, set_lr = {}, trainer.optimizer.set_lr
    rawset(trainer.optimizer, "set_lr", function(self, lr)
      list[#list + 1] = lr
      return set_lr(self, lr)
    end)
    trainer:fit(train, val)
    rawset(trainer.optimizer, "set_lr", nil)
    return list
  end

  it("a warmup that is longer than the run: a warning says so", function()
    tr.Trainer({ model = nn.Sequential { nn.Flatten(), nn.Linear(16, 2) }, schedule = { "constant", warmup = 99 },
      epochs = 1, quiet = true }):fit(tr.data.tensors { images = tr.rand(8, 4, 4, 1), classes = { "a", "b" },
        labels = tr.tensor({ 1, 2, 1, 2, 1, 2, 1, 2 }, { dtype = "i64" }) })
    assert.matches("the schedule has a warmup of 99 steps, the run has 1", warned[1])
  end)

  it("more epochs after the end: a one_cycle stays at its last rate, and a warning says so", function()
    local dir = support.folder()
    local first = rates(trainer_of { dir = dir, epochs = 3 })
    local more = rates(trainer_of { dir = dir, epochs = 5, resume = true, model = model(9) })
    assert.equal(10, #more)
    for _, rate in ipairs(more) do assert.near(first[#first], rate, 1e-12) end
    assert.matches("the schedule had come to its end: the further epochs are trained at its last rate", warned[1])
  end)

  it("more epochs in the middle: the rate goes on without a jump, and ends where it would have ended", function()
    local dir = support.folder()
    local planned = rates(trainer_of { epochs = 4 })
    local first = stops_at(trainer_of { dir = dir, epochs = 4 }, 12)
    local loss = first.loss
    local before = rates(first)
    assert.is_true(first.interrupted)
    local second = trainer_of { dir = dir, epochs = 8, resume = true, loss = loss, model = model(9) }
    local after = rates(second)
    assert.equal(40, #before + #after)
    local largest = 0
    for i = 2, #planned do largest = math.max(largest, math.abs(planned[i] - planned[i - 1])) end
    assert.is_true(math.abs(after[1] - before[#before]) <= largest)
    for i = 2, #after do assert.is_true(after[i] <= after[i - 1]) end
    assert.near(planned[#planned], after[#after], 1e-12)
  end)

  it("more epochs, stopped and resumed once more, give the same bits", function()
    local function run(stop)
      local dir = support.folder()
      trainer_of({ dir = dir, epochs = 2, schedule = { "cosine", min = 0.005 } }):fit(train, val)
      local function longer() return trainer_of {
        dir = dir, epochs = 4, resume = true, model = model(9), schedule = { "cosine", min = 0.005 },
      } end
      local trainer = longer()
      if stop then
        local count = 0
        local clip = trainer.optimizer.step
        rawset(trainer.optimizer, "step", function(self)
          count = count + 1
          if count == 4 then io.popen("kill -INT $PPID"):close() end
          return clip(self)
        end)
        trainer:fit(train, val)
        assert.is_true(trainer.interrupted)
        trainer = longer()
      end
      trainer:fit(train, val)
      assert.equal(4, #trainer.history)
      return weights(trainer)
    end
    assert.same(run(false), run(true))
  end)

  it("lr: the schedule is multiplied", function()
    local dir = support.folder()
    rates(trainer_of { dir = dir, epochs = 2, schedule = { "cosine", min = 0.001 } })
    local changed = { "sgd", lr = 0.002, momentum = 0.9 }
    local after = rates(trainer_of {
      dir = dir, epochs = 2, resume = true, optimizer = changed, schedule = { "cosine", min = 0.001 },
    })
    assert.equal(0, #after)
    local constant = support.folder()
    rates(trainer_of { dir = constant, epochs = 1, schedule = "constant" })
    after = rates(trainer_of { dir = constant, epochs = 2, resume = true, optimizer = changed, schedule = "constant" })
    assert.same({ 0.002, 0.002, 0.002, 0.002, 0.002 }, after)
  end)

  it("patience, name", function()
    local dir = support.folder()
    trainer_of({ dir = dir, epochs = 1 }):fit(train, val)
    assert.equal(2, #trainer_of({ dir = dir, epochs = 2, resume = true, patience = 9, name = "b" }):fit(train, val))
  end)

  it("a course keeps whole numbers where nothing changed", function()
    local c = course.new(10)
    for step = 1, 10 do
      assert.equal(step, course.position(c, step))
      assert.equal("integer", math.type(course.position(c, step)))
    end
    c = course.replan(c, 4, 16) -- 12 steps for the 6 that were left
    assert.equal(4, course.position(c, 4))
    assert.near(4.5, course.position(c, 5), 1e-12)
    assert.equal(10, course.position(c, 16))
    c = course.replan(c, 10, 10) -- nothing left, then some again
    assert.near(7, course.position(c, 10), 1e-12)
    c = course.replan(c, 10, 13)
    assert.near(8, course.position(c, 11), 1e-12)
    assert.equal(10, course.position(c, 13))
    c = course.replan(c, 13, 20)
    assert.equal(10, course.position(c, 17))
    assert.same(course.new(8), course.replan(course.new(10), 0, 8))
  end)
end)

describe("a second fit", function()
  local train, val = pictures(40, 1), pictures(16, 2)

  for _, where in ipairs { "memory", "a folder" } do
    local function dir() return where == "a folder" and support.folder() or nil end

    it("goes on after Ctrl-C, bit for bit, in " .. where, function()
      local whole = stops_at(trainer_of { dir = dir() }, 1e9)
      whole:fit(train, val)
      local trainer = stops_at(trainer_of { dir = dir() }, 8)
      trainer:fit(train, val)
      assert.is_true(trainer.interrupted)
      assert.equal(8, trainer.steps)
      tr.manual_seed(1234) -- the script's own random numbers change nothing
      trainer:fit(train, val)
      assert.is_false(trainer.interrupted)
      assert.equal(20, trainer.steps)
      assert.same(weights(whole), weights(trainer))
    end)

    it("does nothing after the end, and goes on from the last weights for more epochs, in " .. where, function()
      local whole = trainer_of { dir = dir(), epochs = 4, schedule = "constant" }
      whole:fit(train, val)
      local trainer = trainer_of { dir = dir(), epochs = 2, schedule = "constant" }
      trainer:fit(train, val)
      local steps, best = trainer.steps, weights(trainer)
      trainer:fit(train, val)
      assert.equal(steps, trainer.steps)
      assert.same(best, weights(trainer))
      trainer.epochs = 4
      trainer:fit(train, val)
      assert.equal(4, #trainer.history)
      assert.same(weights(whole), weights(trainer))
    end)
  end

  it("with something else is refused, and begins anew when asked to", function()
    local trainer, other = trainer_of { epochs = 1 }, pictures(24, 7)
    trainer:fit(train, val)
    local before = whole_state(trainer)
    assert.matches("can't resume the fit%(%) before.*training images: 40.* %-> 24",
      message_of(function() trainer:fit(other, val) end))
    trainer.batch = 4
    assert.matches("batch: 8 %-> 4", message_of(function() trainer:fit(train, val) end))
    assert.same(before, whole_state(trainer))
    trainer:fit(other, val, { fresh = true })
    assert.equal(1, #trainer.history)
    assert.equal(6, trainer.steps)
    assert.error_matches(function() trainer:fit(train, val, { fersh = true }) end, "unknown option 'fersh'")
  end)

  it("anew in a folder leaves no best weights of the run before in it", function()
    local dir, loss = support.folder(), tr.nn.functional.cross_entropy
    trainer_of({ dir = dir, epochs = 1 }):fit(train, val)
    assert.is_true(support.exists(dir .. "/best.safetensors"))
    local trainer = trainer_of { dir = dir, epochs = 1 }
    trainer.loss = function(logits, labels)
      return trainer.model.training and loss(logits, labels) or tr.tensor(0 / 0)
    end
    trainer:fit(train, val)
    assert.is_nil(trainer.best)
    assert.is_true(support.exists(dir .. "/last.safetensors"))
    assert.is_false(support.exists(dir .. "/best.safetensors"))
    trainer = trainer_of { dir = dir, epochs = 2, resume = true, loss = function(...) return loss(...) end }
    trainer:fit(train, val)
    assert.equal(2, trainer.best.epoch)
    assert.is_true(support.exists(dir .. "/best.safetensors"))
  end)

  it("anew is a function of the weights it begins with", function()
    local a, b = trainer_of { epochs = 2 }, trainer_of { epochs = 2 }
    a:fit(train)
    b.model:load_state_dict(a.model:state_dict())
    a:fit(train, nil, { fresh = true })
    b:fit(train)
    assert.same(weights(b), weights(a))
  end)

  it("checks options that were changed in between", function()
    local trainer = trainer_of { epochs = 1 }
    trainer:fit(train)
    for name, value in pairs { epochs = 0, batch = 2.5, seed = -1 } do
      local kept = trainer[name]
      trainer[name] = value
      assert.matches("Trainer: " .. name .. " is ", message_of(function() trainer:fit(train) end))
      trainer[name] = kept
    end
  end)
end)

describe("two runs in one folder", function()
  local train = pictures(24, 1)

  it("are refused while one is at work, in one process and in another", function()
    local dir, messages = support.folder(), {}
    local trainer = trainer_of { dir = dir, epochs = 1 }
    local cross_entropy = tr.nn.functional.cross_entropy
    trainer.loss = function(...)
      if not messages[1] then
        messages[1] = message_of(function() trainer_of({ dir = dir, epochs = 1 }):fit(train) end)
      end
      return cross_entropy(...)
    end
    trainer:fit(train)
    assert.matches("Trainer: .*/.lock: process %d+ is at work here; give each run a folder of its own", messages[1])
    trainer_of({ dir = dir, epochs = 1 }):fit(train) -- it has ended
  end)

  it("a link at the place of the lock is not followed: nothing is written to what it leads to", function()
    local dir = support.folder()
    local precious = support.write_file(dir .. "/precious.txt", "precious")
    assert(support.run { "ln", "-s", precious, dir .. "/.lock" })
    assert.matches("Trainer: .*/.lock: is a link, a pipe or a socket, a file is wanted",
      message_of(function() trainer_of({ dir = dir, epochs = 1 }):fit(train) end))
    assert.equal("precious", support.read_file(precious))
  end)

  it("a run that failed or was killed holds nothing", function()
    local dir = support.folder()
    local trainer = trainer_of { dir = dir, epochs = 1, loss = function() error "no" end }
    assert.has_error(function() trainer:fit(train) end)
    trainer_of({ dir = dir, epochs = 1 }):fit(train)
    local script = os.tmpname()
    support.write_file(script, ("require('texres').core.process.lock(%q) os.execute('kill -9 $PPID')"):format(
      dir .. "/.lock"))
    os.execute("lua5.4 " .. script .. " 2>/dev/null")
    os.remove(script)
    trainer_of({ dir = dir, epochs = 1 }):fit(train)
  end)
end)

describe("what a script brings of its own", function()
  local train = pictures(24, 1)

  it("an optimizer that lacks what a trainer calls, or trains another model, is refused", function()
    assert.matches("the optimizer has no method zero_grad",
      message_of(function() return (trainer_of { optimizer = { step = function() end } }) end))
    assert.matches("the optimizer holds no parameter of the model",
      message_of(function() return (trainer_of { optimizer = tr.optim.SGD(model()) }) end))
    assert.matches("optimizer is 3, wanted", message_of(function() return (trainer_of { optimizer = 3 }) end))
  end)

  it("options of losses and augmentation are checked when the trainer is made", function()
    for pattern, changes in pairs {
      ["cross_entropy: label_smoothing is nan"] = { loss = { "cross_entropy", label_smoothing = 0 / 0 } },
      ["cross_entropy: weight is {1, nan}"] = { loss = { "cross_entropy", weight = { 1, 0 / 0 } } },
      ["focal_loss: gamma is %-1"] = { loss = { "focal_loss", gamma = -1 } },
      ["cross_entropy: unknown option 'gamma'"] = { loss = { "cross_entropy", gamma = 1 } },
      ['loss is "hinge", wanted "cross_entropy"'] = { loss = "hinge" },
      ["unknown transform 'flop'"] = { augment = { "flop" } },
    } do
      local message = message_of(function() return (trainer_of(changes)) end)
      assert.matches(pattern, message)
    end
  end)

  it("a group with lr = 0 stays frozen, the others train, also when the first is frozen", function()
    for frozen = 1, 2 do
      local net = model()
      local first, second = net[2], net[5]
      local groups = { { params = first:parameters() }, { params = second:parameters() } }
      groups[frozen].lr = 0
      local optimizer = tr.optim.SGD(groups, { lr = 0.1 })
      local before = { first.weight:detach():clone(), second.weight:detach():clone() }
      trainer_of({ model = net, optimizer = optimizer, epochs = 1 }):fit(train)
      for i, layer in ipairs { first, second } do
        assert.equal(i == frozen, tr.allclose(before[i], layer.weight, 0, 0))
      end
    end
  end)
end)
