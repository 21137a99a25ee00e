--- Pictures that are damaged after their set was opened: the option `bad` of loaders, trainers and evaluate.
local tr = require "texres"
local support = require "spec.support"

local nn = tr.nn

local warn, warned = tr.warn, nil

--- A folder of 24 pictures of two classes, read when they are needed.
local function folder()
  local root = support.folder()
  assert(tr.data.fabric({ count = 24, size = 8, seed = 2, classes = { "good", "hole" } }):save_folder(root))
  return assert(tr.data.folder { path = root, cache = false })
end

--- Damages samples of a set; returns what mends them.
local function damage(set, ...)
  local whole = {}
  for _, i in ipairs { ... } do
    local path = set.meta.path[i]
    whole[path] = support.read_file(path)
    support.write_file(path, whole[path]:sub(1, -20))
  end
  return function()
    for path, text in pairs(whole) do support.write_file(path, text) end
  end
end

local function trainer_of(changes)
  tr.manual_seed(3)
  local model = nn.Sequential {
    nn.Conv2d(1, 4, 3, { padding = 1 }), nn.BatchNorm(4), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 2),
  }
  local o = { model = model, epochs = 3, batch = 4, seed = 5, quiet = true, keep = "last", bad = "skip",
    augment = { "flip" } }
  for name, value in pairs(changes or {}) do o[name] = value end
  return tr.Trainer(o)
end

local function weights_of(trainer)
  local all = {}
  for name, t in pairs(trainer.model:state_dict()) do all[name] = t:flatten():totable() end
  return all
end

--- All that a loader hands out in an epoch, as lists.
local function handed_out(loader, epoch, first)
  local list = {}
  for images, labels, mix, masks in loader:batches(epoch, first) do
    list[#list + 1] = { images:totable(), labels:totable(), mix and mix.labels:totable(), masks and masks:totable() }
  end
  return list
end

describe("pictures that are damaged later", function()
  before_each(function()
    warned = {}
    tr.warn = function(message) warned[#warned + 1] = message end
  end)
  after_each(function() tr.warn = warn end)

  it("are left out of their batches, listed and counted once, the same for any number of workers", function()
    local set = folder()
    damage(set, 2, 11, 12, 13, 20)
    local first, skipped
    for _, workers in ipairs { 0, 1, 3 } do
      warned = {}
      local loader = set:loader { batch = 2, bad = "skip", workers = workers, augment = { { "mixup", p = 1 }, "flip" } }
      local got = handed_out(loader, 7)
      assert.equal(11, #got) -- one of 12 has nothing left
      assert.equal(1, #got[1][2])
      assert.is_nil(got[1][3]) -- there is nothing to mix one image with
      assert.same({ epoch = 7, batch = 12 }, loader:state_dict())
      assert.equal(1, #warned)
      assert.matches("loader: epoch 7: 5 of 24 images could not be read and were left out; the first: data.folder: "
        .. set.meta.path[2] .. ": the PNG image is truncated", warned[1], 1, true)
      for i, one in ipairs(loader.skipped) do
        assert.equal(({ 2, 11, 12, 13, 20 })[i], one.sample)
        assert.equal(one.sample, one.place)
      end
      first, skipped = first or got, skipped or loader.skipped
      assert.same(first, got)
      assert.same(skipped, loader.skipped)
      assert.same(table.move(first, 4, 11, 1, {}), handed_out(loader, 7, 4))
      assert.equal(4, #loader.skipped)
    end
    local shuffled = set:loader { batch = 5, bad = "skip", shuffle = true }
    handed_out(shuffled, 2)
    for _, one in ipairs(shuffled.skipped) do assert.equal(shuffled:order(2)[one.place], one.sample) end
    assert.error_matches(function() set:loader { bad = "ignore" } end, "bad is \"ignore\", wanted \"error\" or")
  end)

  it("take their masks and what would be pasted with them", function()
    local set = tr.data.fabric { count = 24, size = 8, seed = 2, classes = { "good", "hole" }, masks = true }
    local root = support.folder()
    assert(set:save_folder(root))
    set = assert(tr.data.folder { path = root, cache = false })
    damage(set, 1, 20)
    local first
    for workers = 0, 2 do
      local loader = set:loader {
        batch = 6, bad = "skip", masks = true, workers = workers, augment = { { "paste", p = 1 } },
      }
      local got, images = handed_out(loader, 1), 0
      for _, batch in ipairs(got) do
        images = images + #batch[2]
        assert.equal(#batch[2], #batch[4])
      end
      assert.equal(24 - #loader.skipped, images)
      first = first or got
      assert.same(first, got)
    end
  end)

  it("make a smaller set of those that can be read", function()
    local set = folder()
    assert.equal(set, (set:readable()))
    local mend = damage(set, 3, 24)
    local readable, kept = set:readable()
    assert.equal(22, #readable)
    assert.same({ 1, 2, 4 }, { kept[1], kept[2], kept[3] })
    assert.equal(set.meta.path[4], readable.meta.path[3])
    assert.equal(set.meta.path[24], readable.skipped[2].path)
    assert.matches("22 images 8x8x1 u8, 2 classes, 2 skipped", tostring(readable), 1, true)
    assert.equal(0, #set.skipped)
    mend()
    assert.equal(24, #set:readable())
  end)

  it("are no images of a training that begins after it, with its weights, its validation and its resumption", function()
    local set, val = folder(), folder()
    damage(set, 5, 6)
    damage(val, 1)
    local by_image = {}
    for i = 1, 24 do by_image[i] = i end
    local function options(changes)
      changes.weights = by_image
      return changes
    end
    local whole = trainer_of(options {})
    whole:fit(set, val)
    assert.equal(22, whole.sizes.train)
    assert.equal(23, whole.validation.images)
    assert.is_nil(whole.history[1].skipped)
    local readable, kept = set:readable()
    local other = trainer_of { bad = "error", weights = kept }
    other:fit(readable, (val:readable()))
    assert.same(weights_of(other), weights_of(whole))

    local dir = support.folder()
    for event in trainer_of(options { dir = dir, workers = 0 }):run(set, val) do
      if event.kind == "step" and event.step == 8 then break end
    end
    local resumed = trainer_of(options { dir = dir, resume = true, workers = 3 })
    resumed:fit(set, val)
    assert.same(weights_of(whole), weights_of(resumed))
  end)

  it("are left out of the epochs after it, which say how many they were", function()
    local all = {}
    for _, workers in ipairs { 0, 3 } do
      local set, val, dir = folder(), folder(), support.folder()
      local mend
      warned = {}
      local trainer = trainer_of { workers = workers, dir = dir, callbacks = { function(event)
        if event.kind == "epoch" and event.epoch == 1 then
          local mends = { damage(set, 7, 8, 9), damage(val, 2) }
          mend = function() for _, f in ipairs(mends) do f() end end
        end
      end } }
      for event in trainer:run(set, val) do
        if event.kind == "step" and event.step == 14 then break end
      end
      assert.equal(2, #trainer.history)
      assert.is_nil(trainer.history[1].skipped)
      assert.equal(3, trainer.history[2].skipped)
      assert.equal(2, #warned) -- of the training and the validation set
      assert.equal(23, trainer.validation.images)
      assert.equal(23, trainer.validation.scores:size(1))
      all[#all + 1] = weights_of(trainer)
      mend()
      local resumed = trainer_of { dir = dir, resume = true }
      resumed.epochs = 2
      local seen
      resumed.callbacks = { function(_, t) seen = seen or t.validation.images end, }
      resumed.epochs = 3
      resumed:fit(set, val)
      assert.equal(23, seen) -- that of the file
      assert.equal(24, resumed.validation.images)
      assert.equal(3, resumed.history[2].skipped)
    end
    assert.same(all[1], all[2])
  end)

  it("end a run with the file's name by default, which goes on when the file is mended", function()
    local set, dir = folder(), support.folder()
    local whole = trainer_of { bad = "error" }
    whole:fit(set)
    local mend
    local failing = trainer_of { bad = "error", dir = dir, callbacks = { function(event)
      if event.kind == "epoch" and event.epoch == 1 then mend = damage(set, 7) end
    end } }
    assert.error_matches(function() failing:fit(set) end, set.meta.path[7] .. ": the PNG image is truncated", 1, true)
    mend()
    local resumed = trainer_of { bad = "error", dir = dir, resume = true }
    resumed:fit(set)
    assert.same(weights_of(whole), weights_of(resumed))
  end)

  it("are an error where nothing is left to train on or to measure", function()
    local set = folder()
    local trainer = trainer_of { callbacks = { function(event)
      local all = {}
      for i = 1, #set do all[i] = i end
      if event.kind == "epoch" then damage(set, table.unpack(all)) end
    end } }
    assert.error_matches(function() trainer:fit(set) end, "Trainer: epoch 2: no image can be read; the first: data")
    assert.error_matches(function() trainer:evaluate(set) end, "Trainer: the evaluated set is empty")
  end)

  it("are left out of what is measured", function()
    local set, dir = folder(), support.folder()
    local trainer = trainer_of { dir = dir, epochs = 1 }
    trainer:fit(set)
    damage(set, 4)
    assert.equal(23, trainer:evaluate(set).images)
    assert.error_matches(function() trainer:evaluate(set, "Test", { bad = "error" }) end, set.meta.path[4], 1, true)
    local clf = assert(tr.load(dir .. "/best.safetensors"))
    for _, one in ipairs { clf, tr.Ensemble { clf, clf } } do
      local result = one:evaluate(set, { bad = "skip" })
      assert.equal(23, result.images)
      assert.equal(23, result.scores:size(1))
      assert.error_matches(function() one:evaluate(set) end, set.meta.path[4], 1, true)
    end
  end)

  it("are left out of the tests of a cross-validation, also of one that goes on", function()
    local set, dir = folder(), support.folder()
    damage(set, 2, 20)
    local trained
    local function validate(changes)
      trained = 0
      local o = { set = set, folds = 3, seeds = { 1, 2 }, views = 4, dir = dir, operating_point = { escape = 0.2 },
        quiet = true, trainer = function()
          trained = trained + 1
          return { model = trainer_of().model, epochs = 1, batch = 4, bad = "skip" }
        end }
      for name, value in pairs(changes or {}) do o[name] = value end
      return tr.cross_validate(o)
    end
    local cv = validate()
    assert.equal(22, cv.by_seed[1].images)
    assert.equal(44, cv.pooled.images)
    assert.equal(22, cv.units) -- images, each tested once for each seed
    local again = validate()
    assert.same(cv.pooled.scores:totable(), again.pooled.scores:totable())
    assert.same(cv.operating_point, again.operating_point)
    assert.same(cv.pooled.groups, again.pooled.groups)
    assert.error_matches(function()
      validate { dir = support.folder(), trainer = function() return { model = trainer_of().model, epochs = 1 } end }
    end, "the PNG image is truncated")
  end)
end)
