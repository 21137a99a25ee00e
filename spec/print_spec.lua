--- tostring(tensor), in the manner of NumPy; what the other objects say of themselves.
local tr = require "texres"
local json = require "texres.json"
local support = require "spec.support"

local function shows(t, ...) assert.equal(table.concat({ ... }, "\n"), tostring(t)) end

describe("a tensor as text", function()
  it("aligns the columns and ends with dtype and shape", function()
    shows(tr.tensor { { 1, 20.5 }, { -3, 4 } }, "[[ 1.0000, 20.5000],", " [-3.0000,  4.0000]]", "f32 {2,2}")
  end)

  it("writes whole floats with a point, integers without", function()
    shows(tr.tensor { 1, -2, 30 }, "[ 1., -2., 30.]", "f32 {3}")
    shows(tr.tensor({ 1, -2, 30 }, { dtype = "i64" }), "[ 1, -2, 30]", "i64 {3}")
    shows(tr.tensor({ 0, 255 }, { dtype = "u8" }), "[  0, 255]", "u8 {2}")
    shows(tr.tensor({ math.mininteger }, { dtype = "i64" }), "[-9223372036854775808]", "i64 {1}")
  end)

  it("turns to powers of ten for very large, very small and very different numbers", function()
    shows(tr.tensor({ 1e-9, 1 }, { dtype = "f64" }), "[1.0000e-09, 1.0000e+00]", "f64 {2}")
    shows(tr.tensor { 1.5e8 }, "[1.5000e+08]", "f32 {1}")
    shows(tr.tensor({ 0.01, 1234567.8 }, { dtype = "f64" }), "[1.0000e-02, 1.2346e+06]", "f64 {2}")
    shows(tr.tensor({ 1234567.75, 0.5 }, { dtype = "f64" }), "[1234567.7500,       0.5000]", "f64 {2}")
  end)

  it("shows what is no number", function()
    shows(tr.tensor { 0 / 0, math.huge, -math.huge, 1 }, "[ nan,  inf, -inf,   1.]", "f32 {4}")
  end)

  it("shows one number, and none", function()
    shows(tr.tensor(2.5), "2.5000", "f32 {}")
    shows(tr.zeros(0, 3), "[]", "f32 {0,3}")
  end)

  it("puts empty lines between blocks of higher dimensions", function()
    shows(tr.zeros(2, 2, 2), "[[[0., 0.],", "  [0., 0.]],", "", " [[0., 0.],", "  [0., 0.]]]", "f32 {2,2,2}")
    local _, empty = tostring(tr.zeros(2, 2, 1, 1)):gsub("\n\n\n", "")
    assert.equal(1, empty)
  end)

  it("leaves out the middle of every dimension of more than a thousand elements", function()
    local text = tostring(tr.arange(1, 1001))
    shows(text, "[   1,    2,    3, ...,  999, 1000, 1001]", "i64 {1001}")
    text = tostring(tr.zeros(40, 40))
    shows(text, "[[0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],",
      " ...,", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.]]",
      "f32 {40,40}")
    assert.is_nil(tostring(tr.zeros(25, 40)):find("...", 1, true))
    assert.is_true(#tostring(tr.zeros(100, 100, 100)) < 4000)
  end)

  it("breaks lines before column 80", function()
    for line in tostring(tr.rand(4, 100)):gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    assert.matches("\n  0%.", tostring(tr.rand(2, 20)))
  end)

  it("reads views through their strides", function()
    shows(tr.tensor { { 1, 2 }, { 3, 4 } }:transpose(1, 2), "[[1., 3.],", " [2., 4.]]", "f32 {2,2}")
    shows(tr.tensor { 7 }:expand(2, 2), "[[7., 7.],", " [7., 7.]]", "f32 {2,2}")
  end)
end)

describe("an object as text", function()
  --- Eight images of two classes; class b is brighter.
  local function set()
    local images, labels = tr.zeros(8, 4, 4, 1), {}
    for i = 1, 8 do
      labels[i] = i % 2 + 1
      images[i]:fill((labels[i] + i / 10) / 4)
    end
    return tr.data.tensors { images = images, labels = labels, classes = { "a", "b" }, meta = { shade = labels } }
  end

  local function model()
    tr.manual_seed(1)
    return tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(16, 2) }
  end

  local function trainer_of(changes)
    local o = { model = model(), optimizer = { "sgd", lr = 0.1 }, schedule = { "cosine", warmup = 2 }, epochs = 3,
      batch = 4, quiet = true }
    for name, value in pairs(changes or {}) do o[name] = value end
    return tr.Trainer(o)
  end

  it("of an optimizer: what it trains, and its options, group by group", function()
    shows(tr.optim.Adam(model():parameters(), { lr = 0.5 }),
      "Adam of 2 parameters (34 numbers), lr 0.5, beta1 0.9, beta2 0.999, eps 1e-08, weight_decay 0")
    shows(tr.optim.SGD { { params = { tr.zeros(1000, 40) } }, { params = { tr.zeros(3), tr.zeros(4) }, lr = 0 } },
      "SGD of 2 groups",
      "  1  1 parameter (40,000 numbers), lr 0.001, dampening 0, momentum 0, nesterov false, weight_decay 0",
      "  2  2 parameters (7 numbers), lr 0, dampening 0, momentum 0, nesterov false, weight_decay 0")
  end)

  it("of a schedule: its kind and options", function()
    shows(tr.optim.schedule.step { lr = 0.25, at = { 0.5, 0.75 } },
      "step, lr 0.25, at {0.5, 0.75}, gamma 0.1, warmup 0")
  end)

  it("of a trainer: what, how, how far", function()
    local trainer = trainer_of()
    shows(trainer, "trainer of Sequential, 34 parameters: 0 of 3 epochs, batches of 4",
      "  optimizer  SGD of 2 parameters (34 numbers), lr 0.1, dampening 0, momentum 0, nesterov false, weight_decay 0",
      "  schedule   cosine, lr 0.1, min 0, warmup 2")
    trainer:fit(set(), set())
    assert.matches("34 parameters: 3 of 3 epochs", tostring(trainer))
    assert.matches("\n  best       epoch %d, val loss [%d.]+, val accuracy %d+%.%d %%$", tostring(trainer))
    local own = tr.optim.SGD(trainer.model)
    trainer = trainer_of { model = trainer.model, schedule = { lr = function() return 0.1 end }, optimizer = {
      step = function() end, zero_grad = function() end, reset = function() end, lr = function() return 0.1 end,
      set_lr = function() end, parameters = function() return own:parameters() end,
      state_dict = function() end, load_state_dict = function() end,
    } }
    assert.matches("optimizer  one of the script\n  schedule   one of the script", tostring(trainer))
  end)

  it("of a history: a table of the epochs, also after a resume; it stays a plain list", function()
    local dir = support.folder()
    local trainer = trainer_of { dir = dir, epochs = 2, schedule = "constant" }
    shows(trainer.history, "history of 0 epochs")
    assert.equal("{}", json.encode(trainer.history))
    local history = trainer:fit(set(), set())
    assert.matches("^history of 2 epochs; best: epoch %d, val loss [%d.]+, val accuracy [%d.]+ %%\n"
      .. "epoch +lr +loss +accuracy +val loss +val accuracy +images/s +time\n"
      .. " +1 [^\n]+ s[ best]*\n +2 [^\n]+ s[ best]*$", tostring(history))
    assert.same({ history[1], history[2] }, { table.unpack(history) })
    assert.same(json.encode { history[1], history[2] }, json.encode(history))
    local resumed = trainer_of { dir = dir, epochs = 3, schedule = "constant", resume = true }
    assert.matches("^history of 3 epochs", tostring(resumed:fit(set(), set())))
    assert.matches("^history of 1 epoch; best: epoch 1, loss [%d.]+, accuracy", tostring(trainer_of {
      epochs = 1 }:fit(set())))
  end)

  it("of a long history: its first and last epochs, and numbers that are none", function()
    local list = {}
    for i = 1, 100 do list[i] = { epoch = i, loss = i == 7 and 0.5 or 0 / 0, accuracy = 0.25 } end
    local text = tostring(require("texres.trainer.history").of(list))
    assert.matches("^history of 100 epochs; best: epoch 7, loss 0.5000, accuracy 25.0 %%\n", text)
    assert.equal(23, select(2, text:gsub("\n", "\n")) + 1)
    assert.matches("\n +5 +%- +nan +25.0 %% +%- +%- +%- +%-\n +%.%.%.\n +86 ", text)
  end)

  it("of a classifier and its predictions: classes by probability; they stay plain tables", function()
    local path = support.folder() .. "/model.safetensors"
    local trainer = trainer_of()
    trainer:fit(set())
    assert(tr.save(path, { model = trainer.model }))
    local clf = assert(tr.load(path))
    shows(clf, "classifier of 2 classes: a, b", "  images  4 x 4 x 1", "  model   Sequential, 34 parameters")
    local images = tr.stack { set():get(1), (set():get(2)) }
    local one, both = clf:predict(images[1]), clf:predict(images)
    local other = one.class == "a" and "b" or "a"
    assert.matches(("^%s [%%d.]+ %%%%, %s [%%d.]+ %%%%$"):format(one.class, other), tostring(one))
    shows(both, "predictions of 2 images", "   1  " .. tostring(both[1]), "   2  " .. tostring(both[2]))
    assert.same({ class = one.class, label = one.label, probability = one.probability,
      probabilities = one.probabilities }, one)
    assert.equal(2, #both)
    assert.equal(("[%s,%s]"):format(json.encode(both[1]), json.encode(both[2])), json.encode(both))
  end)

  it("of a loader, an epoch under way, an augmentation", function()
    local loader = set():loader { batch = 3, shuffle = true, augment = { "flip", { "rotate", 10 } } }
    shows(loader,
      "loader of 8 images, 3 at a time, shuffled, augmented: 3 batches an epoch, now epoch 1, after batch 0")
    local next_batch, _, _, epoch = loader:batches(4)
    shows(epoch, "epoch 4: 0 of 3 batches done")
    next_batch()
    shows(epoch, "epoch 4: 1 of 3 batches done")
    epoch:stop()
    shows(epoch, "epoch that was stopped")
    assert.matches("now epoch 4, after batch 1$", tostring(loader))
    shows(loader.handle, "loader of 8 images, 3 at a time")
    shows(tr.data.augment { "flip", { "rotate", 10 } }, "augmentation: flip, rotate")
    shows(tr.data.augment {}, "augmentation: none")
  end)

  it("of folds: the sizes of their parts", function()
    shows(set():folds { 2, stratify = true }, "2 folds", "   1  train 4 images, test 4", "   2  train 4 images, test 4")
    shows(set():leave_one_out "shade", "2 folds", "   1  train 4 images, test 4  2", "   2  train 4 images, test 4  1")
  end)

  it("of a counter: its result so far", function()
    local counter = require("texres.metrics").Counter { "a", "b" }
    assert.equal(tostring(counter:result()), tostring(counter))
  end)
end)
