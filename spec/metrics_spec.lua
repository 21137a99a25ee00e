--- Metrics against values computed by hand and by scikit-learn's definitions.
local tr = require "texres"
local metrics = require "texres.metrics"

local CLASSES = { "good", "hole", "thread" }

--- Logits whose largest value stands at each prediction.
local function logits_of(predictions)
  local rows = {}
  for i, p in ipairs(predictions) do
    rows[i] = { 0, 0, 0 }
    rows[i][p] = 5
  end
  return tr.tensor(rows)
end

local function labels_of(list) return tr.tensor(list, { dtype = "i64" }) end

local function counted()
  local counter = metrics.Counter(CLASSES)
  counter:add(logits_of { 1, 1, 2, 3 }, labels_of { 1, 1, 1, 3 }, 0.5)
  counter:add(logits_of { 2, 1 }, labels_of { 2, 2 }, 0.2)
  return counter
end

describe("metrics", function()
  it("count batches into accuracy, mean loss and a confusion matrix of truth by prediction", function()
    local result = counted():result()
    assert.near(4 / 6, result.accuracy, 1e-12)
    assert.near((4 * 0.5 + 2 * 0.2) / 6, result.loss, 1e-12)
    assert.equal(6, result.images)
    assert.equal("i64", result.confusion.dtype)
    assert.same({ { 2, 1, 0 }, { 1, 1, 0 }, { 0, 0, 1 } }, result.confusion:totable())
  end)

  it("of a set hold what each image was given, and the group that it belongs to", function()
    local set = tr.data.fabric { count = 12, size = 8, seed = 1 }
    local model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(64, 6) }
    local trainer = tr.Trainer { model = model, epochs = 1, batch = 4, quiet = true }
    trainer:fit(set)
    local result = trainer:evaluate(set)
    assert.same({ 12, 6 }, result.scores:shape())
    assert.near(12, result.scores:sum():item(), 1e-5)
    assert.same(set.label, result.labels:totable())
    assert.same(set.meta[set.group], result.groups)
    local right = 0
    for i, class in ipairs(result.scores:argmax(2):totable()) do right = right + (class == set.label[i] and 1 or 0) end
    assert.equal(right / 12, result.accuracy)
  end)

  it("give precision, recall, F1 and support of every class, and their mean", function()
    local result = counted():result()
    local good, hole, thread = table.unpack(result.per_class)
    assert.equal("good", good.class)
    assert.near(2 / 3, good.precision, 1e-12)
    assert.near(2 / 3, good.recall, 1e-12)
    assert.near(2 / 3, good.f1, 1e-12)
    assert.equal(3, good.support)
    assert.near(1 / 2, hole.precision, 1e-12)
    assert.near(1 / 2, hole.recall, 1e-12)
    assert.near(1, thread.f1, 1e-12)
    assert.near((2 / 3 + 1 / 2 + 1) / 3, result.macro.f1, 1e-12)
  end)

  it("count a share of nothing as 0", function()
    local counter = metrics.Counter(CLASSES)
    counter:add(logits_of { 1, 1 }, labels_of { 1, 2 })
    local hole, thread = counter:result().per_class[2], counter:result().per_class[3]
    assert.same({ 0, 0, 0, 1 }, { hole.precision, hole.recall, hole.f1, hole.support })
    assert.same({ 0, 0, 0, 0 }, { thread.precision, thread.recall, thread.f1, thread.support })
    local empty = metrics.Counter(CLASSES):result()
    assert.is_true(empty.accuracy ~= empty.accuracy) -- of no images nothing is known
    assert.is_true(empty.loss ~= empty.loss)
  end)

  it("average over the classes that occur, as scikit-learn does", function()
    local counter = metrics.Counter(CLASSES)
    counter:add(logits_of { 1, 2, 2 }, labels_of { 1, 2, 2 })
    assert.same({ precision = 1, recall = 1, f1 = 1 }, counter:result().macro)
    counter:add(logits_of { 3 }, labels_of { 1 }) -- a class that is only predicted occurs
    local macro = counter:result().macro
    assert.near((1 + 1 + 0) / 3, macro.precision, 1e-12)
    assert.near((1 / 2 + 1 + 0) / 3, macro.recall, 1e-12)
    assert.near((2 / 3 + 1 + 0) / 3, macro.f1, 1e-12)
  end)

  it("count logits that give no probabilities as images without a prediction", function()
    for _, bad in ipairs { { 0 / 0, 0, 0 }, { 0, 0, 0 / 0 }, { math.huge, 0, 0 } } do
      local counter = metrics.Counter(CLASSES)
      counter:add(tr.tensor { bad, { 5, 0, 0 } }, labels_of { 1, 1 })
      for _, source in ipairs { counter, metrics.from_data(metrics.to_data(counter), CLASSES) } do
        local result = source:result()
        assert.equal(0.5, result.accuracy)
        assert.same({ 1, 0, 0 }, result.invalid)
        assert.same({ { 1, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }, result.confusion:totable())
        assert.equal(0.5, result.per_class[1].recall)
        assert.equal(2, result.per_class[1].support)
        assert.matches("1 of the images have no prediction", tostring(result))
      end
    end
  end)

  it("take an empty batch, and refuse a label beyond the classes", function()
    local counter = metrics.Counter(CLASSES)
    counter:add(tr.zeros(0, 3), tr.zeros({ 0 }, { dtype = "i64" }))
    assert.equal(0, counter:result().images)
    assert.error_matches(function() counter:add(logits_of { 1 }, labels_of { 4 }) end,
      "metrics: label 4: there are 3 classes")
    assert.error_matches(function() counter:add(tr.zeros(1, 4), labels_of { 1 }) end,
      "metrics: the model gives 4 numbers for an image, there are 3 classes")
    assert.matches("accuracy nan %% of 0 images, loss nan", tostring(counter:result()))
  end)

  it("travel as plain data and back", function()
    local counter = counted()
    for _, source in ipairs { counter, counter:result() } do
      local again = metrics.from_data(metrics.to_data(source), CLASSES):result()
      assert.same(counter:result().confusion:totable(), again.confusion:totable())
      assert.near(counter:result().loss, again.loss, 1e-12)
      assert.equal(counter:result().accuracy, again.accuracy)
    end
  end)

  it("divide losses by what they weigh, also after they travelled, or tell their sum", function()
    for _, case in ipairs { { 3, 1.5, 8 / 4.5 }, { 0, 1.5, 8 / 1.5 }, { 0, 0, 8 / 0 }, { false, false, 8 } } do
      local counter = metrics.Counter(CLASSES)
      counter:add(logits_of { 1, 2, 3 }, labels_of { 1, 2, 2 })
      counter:add_loss(6, case[1])
      counter = metrics.from_data(metrics.to_data(counter), CLASSES)
      counter:add(logits_of { 1 }, labels_of { 1 })
      counter:add_loss(2, case[2])
      local result = counter:result()
      assert.equal(case[3], result.loss)
      assert.equal(result.loss, metrics.from_data(metrics.to_data(result), CLASSES):result().loss)
    end
    local older = metrics.to_data(counted())
    older.loss_weight = nil
    assert.equal(counted():result().loss, metrics.from_data(older, CLASSES):result().loss)
    local none = metrics.Counter(CLASSES)
    none:add(logits_of { 1 }, labels_of { 1 })
    assert.is_true(none:result().loss ~= none:result().loss)
  end)

  it("print as two tables with aligned columns", function()
    local text = tostring(counted():result())
    assert.matches("accuracy 66%.7 %% of 6 images, loss 0%.4000", text)
    assert.matches(" 1 good%s+0%.667%s+0%.667%s+0%.667%s+3\n", text)
    assert.matches(" 2 hole%s+1%s+1%s+0", text)
    local heading, first = text:match "\n(truth [^\n]*)\n([^\n]*)"
    assert.equal(#heading, #first)
  end)
end)
