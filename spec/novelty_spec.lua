--- Known unknowns: the normal distributions of features against NumPy's, the share of false alarms, what becomes of a
-- class that was left out of training, and what is fitted in files.
local tr = require "texres"
local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local gaussians = require "texres.gaussians"
local json = require "texres.json"
local novelty = require "texres.novelty"
local safetensors = require "texres.safetensors"
local support = require "spec.support"

local root = support.folder()

local function i64(list) return tr.tensor(list, { dtype = "i64" }) end

--- Sums over rows, so many at a time.
local function fit(rows, labels, classes, step)
  local n = rows:size(1)
  local sums = gaussians.sums(rows:size(2), classes)
  for first = 1, n, step or n do
    local last = math.min(n, first + (step or n) - 1)
    sums:add(rows:slice(1, first, last), labels:slice(1, first, last))
  end
  return sums:fit()
end

describe("distributions of features", function()
  for name, case in pairs(assert(json.decode(support.read_file "spec/fixtures/novelty.json"))) do
    it("have the shrinkage and the distances that NumPy and scikit-learn find: " .. name, function()
      local fitted = fit(tr.tensor(case.rows), i64(case.labels), case.classes)
      assert.near(case.shrinkage, fitted.shrinkage, 1e-6)
      assert.equal(#case.rows, fitted.images)
      assert.equal(case.classes - 1, fitted.means:size(1)) -- none of the class that has no rows
      for i, distance in ipairs(gaussians.distances(fitted, tr.tensor(case.others)):totable()) do
        assert.near(case.distances[i], distance, 1e-4 * case.distances[i])
      end
    end)
  end

  it("tell how far the nearest class is, and the nearest but one", function()
    local fitted = { centre = tr.tensor { 1, 0 }, whitening = core.eye(2),
      means = tr.tensor { { 4, 0 }, { 0, 0 }, { 0, 3 }, { 0, 3 } } }
    local near, second = gaussians.distances(fitted, tr.tensor { { 3, 0 }, { 1, 2 }, { 6, 0 } })
    assert.same({ 2, 1, 1 }, near:totable())
    assert.is_true(second:allclose(tr.tensor { 2, 1, 5 }))
    fitted.means = fitted.means:slice(1, 1, 1)
    near, second = gaussians.distances(fitted, tr.tensor { { 3, 0 } })
    assert.same({ 2 }, near:totable())
    assert.is_nil(second)
  end)

  it("are those of two passes over rows that lie far from zero, whatever the batches", function()
    tr.manual_seed(3)
    local labels = {}
    for i = 1, 500 do labels[i] = i % 3 + 1 end
    local rows = (tr.randn({ 500, 20 }):matmul(tr.randn { 20, 20 }) + 1000):to "f64"
    local one = fit(rows, i64(labels), 3)
    -- the first pass finds the means, the second what lies around them
    local apart = {}
    for k = 1, 3 do
      local own = {}
      for i = 1, 500 do own[#own + 1] = labels[i] == k and i or nil end
      local of_class = rows:index_select(1, i64(own))
      apart[k] = of_class - of_class:mean(1)
    end
    apart = core.cat(apart, 1)
    local covariance = apart:transpose(1, 2):matmul(apart) / 500
    local eye, part = core.eye(20, { dtype = "f64" }), one.shrinkage
    local shrunk = covariance * (1 - part) + eye * (part * (covariance * eye):sum():item() / 20)
    local whitening = one.whitening:to "f64"
    assert.is_true(whitening:transpose(1, 2):matmul(shrunk):matmul(whitening):allclose(eye, 0, 1e-5))
    for _, step in ipairs { 1, 7, 128 } do
      local other = fit(rows, i64(labels), 3, step)
      assert.near(one.shrinkage, other.shrinkage, 1e-9)
      assert.is_true(one.whitening:allclose(other.whitening, 1e-5, 1e-5))
      assert.is_true(one.means:allclose(other.means, 1e-4, 1e-4))
    end
  end)

  it("whiten a matrix of any size", function()
    tr.manual_seed(1)
    for _, n in ipairs { 1, 2, 31, 32, 33, 65, 130 } do
      local x = tr.randn({ n + 20, n }):to "f64"
      local a = x:transpose(1, 2):matmul(x)
      local w = gaussians.whitening(a)
      assert.is_true(w:matmul(a):matmul(w:transpose(1, 2)):allclose(core.eye(n, { dtype = "f64" }), 0, 1e-9))
    end
    local message = "covariance has no inverse"
    assert.error_matches(function() gaussians.whitening(core.zeros({ 3, 3 }, { dtype = "f64" })) end, message)
  end)
end)

-- a network of fabric without one class of defects
local LEFT_OUT = "thread"
local function fabric(count, seed) return tr.data.fabric { count = count, size = 32, seed = seed, sources = 60 } end

--- The images of a set that are of a class, or those that are not, with the other classes alone.
local function without(set, name)
  local out, rest = {}, {}
  for i = 1, #set do
    local list = set.classes[set.label[i]] == name and out or rest
    list[#list + 1] = i
  end
  local names, label = {}, {}
  for _, other in ipairs(set.classes) do names[#names + 1] = other ~= name and other or nil end
  local known = set:subset(rest)
  for i, l in ipairs(known.label) do
    for k, own in ipairs(names) do label[i] = own == set.classes[l] and k or label[i] end
  end
  return known:with_labels(label, names), set:subset(out)
end

local train = without(fabric(900, 1), LEFT_OUT)
local known, novel = without(fabric(600, 2), LEFT_OUT)
tr.manual_seed(1)
local trainer = tr.Trainer { model = tr.models.textile { width = 8, head = "mean_max", classes = #train.classes },
  optimizer = { "adamw", lr = 5e-3 }, schedule = "one_cycle", epochs = 6, batch = 32, quiet = true }
trainer:fit(train)
local file = root .. "/net.safetensors"
assert(tr.save(file, { model = trainer.model }))

local function open(path) return assert(tr.load(path or file)) end

local function fitted(options)
  local clf = open()
  local given = { calibrate = known, false_alarms = 0.05 }
  for name, value in pairs(options or {}) do given[name] = value end
  clf:fit_novelty(train, given)
  return clf
end

--- The area under the ROC curve: how often one of the first list is above one of the second.
local function area(above, below)
  local sum = 0
  for _, a in ipairs(above) do
    for _, b in ipairs(below) do sum = sum + (a > b and 1 or a == b and 0.5 or 0) end
  end
  return sum / (#above * #below)
end

local function share(distances, threshold)
  local count = 0
  for _, distance in ipairs(distances) do count = count + (distance > threshold and 1 or 0) end
  return count / #distances
end

describe("the novelty of an image", function()
  it("finds a class of defects that was left out of training, and noise", function()
    local clf = fitted()
    local of_known, of_novel = clf:novelty_of(known), clf:novelty_of(novel)
    local found = area(of_novel, of_known)
    assert.is_true(found > 0.7, ("area %.3f"):format(found))
    assert.is_true(share(of_novel, clf.novelty.threshold) > 0.1)
    local noise = clf:predict(tr.rand { 32, 32, 1 })
    assert.is_true(noise.unknown and noise.novelty > clf.novelty.threshold)
  end)

  it("keeps within the share of false alarms, and lets no more images pass than that takes", function()
    for _, rate in ipairs { 0.001, 0.01, 0.1, 0.5 } do
      local clf = fitted { false_alarms = rate }
      local distances, alarms = clf:novelty_of(known), clf.novelty.false_alarms
      local threshold, of_known = clf.novelty.threshold, share(distances, clf.novelty.threshold)
      assert.near(of_known, alarms.value, 1e-12)
      assert.is_true(of_known <= rate and of_known + 1 / #known > rate, ("%g of %g"):format(of_known, rate))
      assert.is_true(alarms.low <= rate and rate <= alarms.high)
      assert.equal(#known, alarms.images)
      table.sort(distances)
      assert.is_true(threshold >= distances[math.ceil((1 - rate) * #distances - 1e-9)])
    end
  end)

  it("is measured against the highest threshold that is found without one of the groups", function()
    local found, values, groups = fitted().novelty, {}, {}
    for i = 1, 20 do values[i], groups[i] = 21 - i, i <= 10 and "far" or "near" end
    local function threshold(rate, of)
      novelty.calibrate(found, values, rate, of)
      return found.threshold
    end
    assert.equal(16.5, threshold(0.2))
    assert.equal(18.5, threshold(0.2, groups)) -- without the near ones; 8.5 without the far ones
    assert.equal(2, found.false_alarms.groups)
    assert.equal(0.1, found.false_alarms.value)
    assert.equal(0, threshold(1, groups))
    assert.equal(20, threshold(0.01, groups))
    for i in ipairs(groups) do groups[i] = "one" end
    assert.equal(16.5, threshold(0.2, groups))
    values = { 5, 5, 5, 1, 7 } -- those that are as large as others are known together
    assert.equal(6, threshold(0.2))
    assert.equal(6, threshold(0.6))
    assert.equal(3, threshold(0.8))
  end)

  it("stands in predictions, whose probabilities stay as they are", function()
    local clf, plain = fitted(), open()
    local images = core.stack({ (known:get(1)), (known:get(2)), (novel:get(1)) }, 1)
    local distances = clf:novelty_of(known)
    for i, answer in ipairs(clf:predict(images)) do
      assert.same(plain:predict(images)[i].probabilities, answer.probabilities)
      assert.equal(answer.novelty > clf.novelty.threshold, answer.unknown)
      if i < 3 then assert.near(distances[i], answer.novelty, 1e-3) end
      local views = clf:predict(images, { views = 8 })[i]
      assert.near(answer.novelty, views.novelty, 1e-3) -- that of the image as it stands
    end
    assert.is_nil(plain:predict(images)[1].novelty)
    local noise = clf:predict(tr.rand { 32, 32, 1 })
    assert.matches("^unknown %(novelty [%d.]+%): ", tostring(noise))
    assert.matches("\n  novelty: unknown beyond [%d.]+\n.*false alarms +5 %%", tostring(clf))
    assert.matches("^novelty: unknown beyond", tostring(clf.novelty))
  end)

  it("is told of features by themselves, rows or maps", function()
    local clf = fitted()
    local rows = tr.rand { 5, clf.novelty.centre:numel() }
    local near, second = gaussians.distances(clf.novelty, rows / rows:norm(2, true))
    local wanted = near * (near / second) ^ 2
    assert.is_true(clf.novelty:of(rows):allclose(wanted))
    assert.is_true(clf.novelty:of(rows * 3):allclose(wanted, 1e-4))
    clf.novelty.means = clf.novelty.means:slice(1, 1, 1) -- of one class alone: how far that is
    wanted = gaussians.distances(clf.novelty, rows / rows:norm(2, true))
    assert.is_true(clf.novelty:of(rows):allclose(wanted))
    local maps = rows:unsqueeze(2):unsqueeze(2):expand { 5, 3, 4, rows:size(2) }
    assert.is_true(clf.novelty:of(maps):allclose(wanted, 1e-3))
  end)

  it("is looked for in the layer that is named", function()
    local clf = fitted { layer = "block3" }
    assert.equal("block3", clf.novelty.layer)
    assert.equal(32, clf.novelty.centre:numel())
    assert.equal("head.fc", fitted().novelty.layer)
  end)

  it("is that of any number of images at a time", function()
    local a, b = fitted(), fitted { batch = 7 }
    assert.near(a.novelty.threshold, b.novelty.threshold, 1e-3)
    assert.near(a.novelty.shrinkage, b.novelty.shrinkage, 1e-6)
  end)
end)

describe("what is fitted", function()
  local image = known:get(1)

  it("comes back from a file, with an operating point and a temperature beside it", function()
    local clf, path = fitted(), root .. "/fitted.safetensors"
    clf:temper(2)
    clf:set_operating_point(clf:evaluate(known):operating_point { false_reject = 0.1 })
    assert(clf:save(path))
    local again = open(path)
    local a, b = clf:predict(image), again:predict(image)
    assert.same({ a.novelty, a.unknown, a.verdict, a.probabilities }, { b.novelty, b.unknown, b.verdict,
      b.probabilities })
    assert.equal(tostring(clf.novelty), tostring(again.novelty))
    assert(tr.set_operating_point(path, nil)) -- of the file alone
    assert.equal(a.novelty, open(path):predict(image).novelty)
    assert.is_nil(open(path):predict(image).verdict)
    assert(tr.set_novelty(path, nil))
    assert.is_nil(open(path):predict(image).novelty)
    assert(tr.set_novelty(path, clf.novelty))
    assert.equal(a.novelty, open(path):predict(image).novelty)
    local other = root .. "/other.safetensors"
    assert(tr.save(other, { model = tr.models.cifar_resnet { depth = 8, in_channels = 1, classes = 5 } }))
    local got, problem = tr.set_novelty(other, clf.novelty)
    assert.is_nil(got)
    assert.matches("other.safetensors: the model has no layer 'head.fc'", problem)
    assert.error_matches(function() tr.set_novelty(path, 3) end, "set_novelty: what was fitted is 3, wanted what clas")
    again.novelty = nil
    assert(again:save(path))
    assert.is_nil(open(path):predict(image).novelty)
    for name in pairs(assert(safetensors.load(path))) do assert.not_matches("novelty", name) end
  end)

  it("is dropped where the weights change", function()
    local clf, path = fitted(), root .. "/trained.safetensors"
    assert(clf:save(path))
    local model = assert(checkpoint.load(path)).model
    assert.is_not_nil(require("texres.input").of(model).novelty)
    tr.Trainer({ model = model, epochs = 1, batch = 64, quiet = true }):fit(train)
    assert.is_nil(require("texres.input").of(model).novelty)
    model = assert(checkpoint.load(path)).model:replace_head(train.classes)
    assert.is_nil(require("texres.input").of(model).novelty)
    local other = assert(checkpoint.load(path)).model
    assert(other:load(path)) -- the same weights, whole
    assert.is_not_nil(require("texres.input").of(other).novelty)
    assert.is_nil(require("texres.input").of(assert(tr.average { path, path })).novelty)
  end)

  it("stays with the weights that a trainer has kept, also after a resume", function()
    local positions = {}
    for i = 1, 60 do positions[i] = i end
    local few = train:subset(positions)
    local function run()
      return tr.Trainer { model = tr.models.textile { width = 2, classes = #train.classes }, epochs = 1, batch = 64,
        quiet = true, dir = root .. "/run", resume = true, watch = false }
    end
    local first = run()
    assert.error_matches(function() first:fit_novelty(few, { calibrate = few }) end,
      "fit_novelty: it belongs to the weights of a training that has ended")
    first:fit(few, few)
    local found = first:fit_novelty(few, { calibrate = few, false_alarms = 0.2 })
    local function in_file() return open(root .. "/run/best.safetensors").novelty end
    assert.equal(found.threshold, in_file().threshold)
    first:set_operating_point(first.validation:operating_point { false_reject = 0.1 })
    assert.equal(found.threshold, in_file().threshold)
    local second = run()
    second:fit(few, few)
    assert.equal(found.threshold, second.best_takes.novelty.threshold)
    assert.equal(found.threshold, in_file().threshold)
    second:fit(few, few, { fresh = true })
    assert.is_nil(in_file())
  end)

  it("is refused from a file that is damaged", function()
    local clf, path, bad = fitted(), root .. "/whole.safetensors", root .. "/bad.safetensors"
    assert(clf:save(path))
    local tensors, metadata = safetensors.load(path)
    local function refused(message, change)
      local info, copy = assert(json.decode(metadata.texres)), {}
      for name, t in pairs(tensors) do copy[name] = t end
      change(info, copy)
      assert(safetensors.save(bad, copy, { texres = assert(json.encode(info)) }))
      local got, problem = tr.load(bad)
      assert.is_nil(got)
      assert.matches("bad.safetensors: damaged metadata: " .. message, problem)
    end
    refused("novelty is not an object", function(info) info.novelty = 3 end)
    for _, name in ipairs { "layer", "threshold", "rate", "shrinkage", "images", "false_alarms" } do
      refused("novelty." .. name, function(info) info.novelty[name] = nil end)
      refused("novelty." .. name, function(info) info.novelty[name] = -1 end)
    end
    refused("novelty.layer is no layer of the model", function(info) info.novelty.layer = "head.x" end)
    for _, name in ipairs { "centre", "whitening", "means" } do
      local full = "novelty/" .. name
      refused("the tensors of novelty", function(_, t) t[full] = nil end)
      refused("the tensors of novelty", function(_, t) t[full] = t[full]:to "f64" end)
      refused("the tensors of novelty", function(_, t) t[full] = t[full] * (0 / 0) end)
      refused("the tensors of novelty", function(_, t) t[full] = tr.zeros { 2, 3, 4 } end)
    end
    refused("the tensors of novelty", function(_, t) t["novelty/means"] = tr.zeros { 5, 3 } end)
  end)
end)

describe("fit_novelty", function()
  it("says what is wrong", function()
    local clf = open()
    assert.error_matches(function() clf:fit_novelty(train) end, "fit_novelty: calibrate is nil, wanted a data set")
    assert.error_matches(function() clf:fit_novelty(train, { calibrate = known, false_alarm = 1 }) end,
      "unknown option 'false_alarm'; did you mean false_alarms")
    assert.error_matches(function() clf:fit_novelty(train, { calibrate = known, false_alarms = 1 }) end,
      "false_alarms is 1")
    assert.error_matches(function() clf:fit_novelty(3, { calibrate = known }) end, "training set is 3, wanted a data")
    assert.error_matches(function() clf:fit_novelty(train, { calibrate = novel }) end, "fit_novelty: calibrate: ")
    assert.error_matches(function() clf:fit_novelty(train, { calibrate = known, layer = "head.fcc" }) end,
      "fit_novelty: there is no layer")
    assert.error_matches(function() clf:novelty_of(known) end, "nothing is fitted")
    assert.error_matches(function() tr.Ensemble({ clf, open() }):fit_novelty(train, { calibrate = known }) end,
      "an ensemble has no features")
  end)
end)
