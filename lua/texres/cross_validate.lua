--- Cross-validation: every image is tested once by a network that has seen nothing of its photograph (roll, camera
-- run), for each of several seeds; and one page about it.
--
--     local cv = texres.cross_validate {
--       set = set, folds = 4, group = "source", seeds = { 1, 2, 3, 4, 5 }, dir = "runs/cv", views = 8,
--       trainer = function(fold, seed)
--         return { model = texres.models.textile { width = 16 }, epochs = 15, schedule = { "one_cycle" } }
--       end,
--     }
--     print(cv)                       -- accuracies by fold and seed, their mean, spread and limits
--     cv.pooled                       -- all tested images of all seeds as one result (texres.metrics)
--     cv.operating_point              -- with operating_point = { false_reject = 0.02 }: chosen on the pooled scores
--
-- `trainer` makes the options of a Trainer for each fold; the random numbers begin with the seed before it is
-- called, so that weights are a function of it. There is no validation part: the weights of the last epoch are tested.
-- An operating point can't be chosen fold by fold then. It is chosen on the scores of all images, each by networks that
-- had not seen it, put together: it says what such networks can be held to, while a network that goes to the line has
-- scores of its own, and is given a point by validation images of its own. Its costs are those on the very images that
-- it was chosen on, with the limits of one seed.
-- Where the trainer's options say bad = "skip", images of the tests that can't be read are left out, too.
-- In `dir`, a fold that has ended is not trained again, and one that was stopped or killed goes on, as long as options
-- and data are the same; what differs is named, and nothing is overwritten.

local answers = require "texres.report.answers"
local classifier = require "texres.classifier"
local core = require "texres.core"
local distributed = require "texres.distributed"
local files = require "texres.files"
local input = require "texres.input"
local json = require "texres.json"
local metrics = require "texres.metrics"
local operating_point = require "texres.metrics.operating_point"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local safetensors = require "texres.safetensors"
local strict = require "texres.strict"
local table_text = require "texres.nn.table_text"
local terminal = require "texres.terminal"
local Trainer = require "texres.trainer"
local views = require "texres.views"

local KNOWN = {
  set = option.any(), -- all images
  trainer = option.any(), -- function(fold, seed): options of a Trainer
  folds = option.any(5), -- how many, or "groups": each group is left out in turn
  group = option.text(), -- the column that says which images belong together; by default the set's own
  seeds = option.any { 1 }, -- a list, of folds and weights
  views = views.COUNT, -- averaged in the test: 1
  operating_point = option.table(), -- chosen on the pooled scores: { false_reject = 0.02 }
  dir = option.text(), -- folder: a folder for each fold, report.html; nothing is written without it
  quiet = option.switch(false), -- no progress lines
}

local SEED = option.integer(nil, "[0, inf)")

-- -- one fold ---------------------------------------------------------------------------------------------------------

local function trainer_of(o, fold, seed, dir)
  core.manual_seed(seed)
  local made = o.trainer(fold, seed)
  if type(made) ~= "table" then
    raise("cross_validate: trainer gave %s, wanted the options of a Trainer", option.shown(made))
  end
  if getmetatable(made) == Trainer then raise "cross_validate: trainer gives the options of a Trainer, not one" end
  local options = {}
  for name, value in pairs(made) do options[name] = value end
  if options.keep == nil then options.keep = "last" end
  if options.seed == nil then options.seed = seed end
  if options.quiet == nil then options.quiet = true end
  if dir then options.dir, options.resume = dir, true end
  return Trainer(options)
end

--- Raises where a fold would begin with what an earlier one has learned, which may have seen the images of its test.
-- `had`: the tensors that were trained, or are running statistics, in the folds before.
local function check_new(had, model)
  local learns = model:buffers()
  for _, p in ipairs(model:parameters()) do
    if p.requires_grad then learns[#learns + 1] = p end
  end
  for _, t in ipairs(learns) do
    if had[t] then
      raise("cross_validate: trainer gave the same model, or a part of it, for two folds: what it has learned from the "
        .. "one knows images that the other is tested with. Make it anew in the function, or give its clone()")
    end
    had[t] = true
  end
end

local META = "texres cross-validation"

--- Raises where a fold is of something else.
local function check_same(path, saved, identity)
  for name, text in pairs(identity) do
    if saved[name] ~= text then
      raise("cross_validate: %s is of another cross-validation (then -> now):\n  %s: %s -> %s\nGive it a folder of its "
        .. "own", path, name, tostring(saved[name]), text)
    end
  end
end

--- Says which classes of the test a fold has no image of to learn from: it can get none of theirs right.
local function warn_of_missing(fold, name)
  local counts, missing = fold.train:counts(), {}
  for c, count in ipairs(fold.test:counts()) do
    if count > 0 and counts[c] == 0 then missing[#missing + 1] = plain.visible_name(fold.test.classes[c]) end
  end
  if #missing > 0 then
    require("texres").warn(("cross_validate: %s: the training part has no image of %s, the test has some"):format(name,
      table.concat(missing, ", ")))
  end
end

--- The positions of a set's images that a result of it has not, as they could not be read; nil where it has all.
local function skipped_in(result, set)
  local kept, list = result.sets[1].index, {}
  for i, place in ipairs(set.index) do
    if place ~= kept[i - #list] then list[#list + 1] = i end
  end
  return #list > 0 and list or nil
end

--- What a fold of an earlier call left: a result; nil where there is none; raises where it is of something else.
local function read_result(path, identity, test, count)
  if not files.exists(path) then return nil end
  local tensors, meta = safetensors.load(path)
  if not tensors then raise("cross_validate: %s", meta) end
  local saved = json.decode(meta[META] or "")
  local wrong = "cross_validate: %s is not the result of a fold of this set"
  if type(saved) ~= "table" or type(saved.identity) ~= "table" then raise(wrong, path) end
  check_same(path, saved.identity, identity)
  if type(saved.skipped) == "table" then test = test:without(saved.skipped) end
  local fits = tensors.scores and tensors.scores:dim() == 2 and tensors.scores:size(1) == #test
    and tensors.scores:size(2) == #test.classes
  if not fits then raise(wrong, path) end
  return metrics.of_scores(tensors.scores, test, saved.loss, count)
end

local function write_result(path, identity, result, test)
  local text = assert(json.encode { identity = identity, loss = result.loss, skipped = skipped_in(result, test) })
  local ok, message = safetensors.save(path, { scores = result.scores }, { [META] = text })
  if not ok then raise("cross_validate: %s", message) end
end

--- Raises where a fold was begun in this folder with something else; notes what it is begun with.
local function check_begun(dir, identity)
  local path = dir .. "/fold.json"
  if files.exists(path) then
    local text, message = files.read(path)
    if not text then raise("cross_validate: %s", message) end
    local saved = json.decode(text)
    check_same(path, type(saved) == "table" and saved or {}, identity)
    return
  end
  local ok, message = core.process.make_folder(dir)
  if ok then ok, message = files.write(path, assert(json.encode(identity)) .. "\n") end
  if not ok then raise("cross_validate: %s", message) end
end

--- What the figures of a fold are a function of, beside what a run may change on its way: the test, and what a fold
-- that has ended was trained with.
local function identity_of(o, trainer, train_set, test)
  local identity = trainer:_identity(train_set)
  identity.test = ("%d images, labels checksum %08x, views %d"):format(#test,
    core.crc32(table.concat(test.label, ",")), o.views)
  identity.epochs, identity.keep, identity.lr = plain.exact(trainer.epochs), trainer.keep,
    plain.exact(trainer.optimizer:lr())
  identity.patience = trainer.patience and plain.exact(trainer.patience) or "none"
  return identity
end

--- Trains a fold, telling how far it is; `name`: of the fold. (A trainer that is not quiet tells that itself.)
local function train(trainer, set, progress, name)
  for event in trainer:run(set) do
    if progress and trainer.quiet and event.kind == "step" then
      progress:show { name, ("epoch %d/%d"):format(event.epoch, trainer.epochs), plain.format("loss %.4f", event.loss),
        share = event.step / trainer.course.planned }
    end
  end
end

--- Trains and tests one fold, or takes what an earlier call found; nil after a Ctrl-C.
-- `told`: { had = models of the folds before, progress = where it is told or nil, name = of the fold }.
local function run_fold(o, fold, seed, number, told)
  local dir = o.dir and ("%s/seed-%d-fold-%02d"):format(o.dir, seed, number)
  local trainer = trainer_of(o, fold, seed, dir)
  check_new(told.had, trainer.model)
  local test = input.readable(fold.test, trainer.bad)
  local identity = identity_of(o, trainer, fold.train, test)
  local result = dir and read_result(dir .. "/result.safetensors", identity, test, o.views)
  if result then return result end
  if dir then check_begun(dir, identity) end
  train(trainer, fold.train, told.progress, told.name)
  if trainer.interrupted then return nil end
  result = classifier.new({ model = trainer.model }):evaluate(test, { views = o.views, bad = trainer.bad })
  if dir then write_result(dir .. "/result.safetensors", identity, result, test) end
  return result
end

-- -- all of them ------------------------------------------------------------------------------------------------------

local Validation = strict.class("a cross-validation", {}, {
  "pooled", "low", "high", "units", "kind", "operating_point",
})

local function mean_of(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return sum / #values
end

--- The deviation of some values, of a sample; 0 of a single one.
local function spread_of(values)
  local mean, sum = mean_of(values), 0
  for _, value in ipairs(values) do sum = sum + (value - mean) ^ 2 end
  return #values > 1 and math.sqrt(sum / (#values - 1)) or 0
end

--- A row for each fold, a column for each seed, and what they come to.
function Validation:__tostring()
  local head, rows = { "fold" }, {}
  for s, seed in ipairs(self.seeds) do head[s + 1] = ("seed %d"):format(seed) end
  rows[1] = head
  for f = 1, self.folds do
    local row = { ("%d"):format(f) }
    for s = 1, #self.seeds do
      local result = self.results[s] and self.results[s][f]
      row[s + 1] = result and plain.percent(result.accuracy) or "-"
    end
    rows[#rows + 1] = row
  end
  local lines = { table_text(rows, { true }) }
  if self.pooled then
    local limits = self.low and plain.format(", between %.1f and %s (95 %%, over %s)", 100 * self.low,
      plain.percent(self.high), self.kind) or ""
    local spread = #self.seeds > 1 and plain.format(", spread between seeds %.1f points", 100 * self.spread) or ""
    lines[#lines + 1] = ("accuracy %s%s%s"):format(plain.percent(self.accuracy), spread, limits)
    if self.operating_point then lines[#lines + 1] = tostring(self.operating_point) end
  else
    lines[#lines + 1] = "stopped: another call with the same dir goes on"
  end
  return table.concat(lines, "\n")
end

--- Mean, spread, limits, operating point and the pooled result of what has ended. `places`: of all tested images in the
-- set's source. One that was tested once for each seed is still one image: where there are no groups, it is one for the
-- limits.
local function conclude(self, o, places)
  local of_seed, all = {}, {}
  for s in ipairs(self.seeds) do
    of_seed[s] = metrics.join(self.results[s])
    table.move(self.results[s], 1, self.folds, #all + 1, all)
  end
  self.by_seed, self.pooled = of_seed, metrics.join(all)
  if #self.seeds > 1 and not self.pooled.groups then self.pooled.groups = places end
  local accuracies, balanced = {}, {}
  for s, result in ipairs(of_seed) do accuracies[s], balanced[s] = result.accuracy, result.balanced_accuracy end
  self.accuracy, self.spread = mean_of(accuracies), spread_of(accuracies)
  self.balanced_accuracy = mean_of(balanced)
  -- images that were tested once for each seed are no more images: limits are those of one seed, their mean over all
  local lows, highs = {}, {}
  for s, result in ipairs(of_seed) do
    local low, high, units, kind = result:limits()
    if low then lows[s], highs[s], self.units, self.kind = low, high, units, kind end
  end
  if #lows == #of_seed then self.low, self.high = mean_of(lows), mean_of(highs) end
  if o.operating_point then
    self.operating_point = operating_point.choose(self.pooled, o.operating_point, self.by_seed)
  end
end

--- Pictures for the report, of the first seed; their numbers are those of the set. `places`: as above.
local function pictures_of(self, o, places)
  local result, position, positions = self.by_seed[1], {}, {}
  for k, place in ipairs(o.set.index) do position[place] = k end
  for i = 1, result.images do positions[i] = position[places[i]] end
  local pictures = answers.pictures({ operating_point = self.operating_point }, result, o.set:subset(positions), o.dir)
  for _, list in pairs(pictures) do
    for _, picture in ipairs(list) do picture.place = positions[picture.place] end
  end
  return pictures
end

local function folds_of(o, seed)
  local group = o.group or rawget(o.set, "group") or nil
  if o.folds == "groups" then
    local folds = o.set:leave_one_out(group)
    if #folds < 2 then
      raise("cross_validate: the set has a single group in column '%s': nothing is left to train on", group)
    end
    return folds
  end
  return o.set:folds { o.folds, seed = seed, group = group, stratify = group == nil or nil }
end

local function read_options(options)
  local o = option.read("cross_validate", options, KNOWN)
  if type(o.set) ~= "table" or not o.set.folds then
    raise("cross_validate: set is %s, wanted a data set", option.shown(o.set))
  end
  if type(o.trainer) ~= "function" then
    raise("cross_validate: trainer is %s, wanted a function(fold, seed)", option.shown(o.trainer))
  end
  if type(o.seeds) ~= "table" or #o.seeds == 0 then
    raise("cross_validate: seeds is %s, wanted a list such as { 1, 2, 3 }", option.shown(o.seeds))
  end
  o.views = o.views or 1
  if o.operating_point then
    operating_point.check_set(o.set, operating_point.check(o.operating_point),
      "cross_validate: operating_point: of the images")
  end
  local seen = {}
  for i, seed in ipairs(o.seeds) do
    seed = option.check("cross_validate", ("seeds[%d]"):format(i), seed, SEED)
    if seen[seed] then raise("cross_validate: seeds has %d twice: it would say the same twice", seed) end
    seen[seed] = true
  end
  return o
end

--- Runs a cross-validation. An object with seeds, folds (how many), results[seed
-- number][fold], accuracy, balanced_accuracy (means over the seeds), spread (their deviation), low, high (limits of the
-- accuracy), units and kind (over how many "groups" or "images"), by_seed and pooled (results) and, where it is asked
-- for, operating_point. After a Ctrl-C it holds what has ended, and pooled is nil.
return function(options)
  local o = read_options(options)
  if o.dir then
    local made, message = core.process.make_folder(option.check("cross_validate", "dir", o.dir, option.PATH))
    if not made then raise("cross_validate: %s", message) end
  end
  local self = setmetatable({ seeds = o.seeds, results = {}, folds = 0, dir = o.dir or false }, Validation)
  local places, had = {}, setmetatable({}, { __mode = "k" })
  local progress = not o.quiet and distributed._tells() and terminal.Progress() or nil
  for s, seed in ipairs(o.seeds) do
    self.results[s] = {}
    local folds = folds_of(o, seed)
    self.folds = #folds
    for f, fold in ipairs(folds) do
      local name = ("seed %d, fold %d of %d"):format(seed, f, #folds)
      warn_of_missing(fold, name)
      local result = run_fold(o, fold, seed, f, { had = had, progress = progress, name = name })
      if not result then
        if progress then progress:done(name .. ": stopped") end
        return self
      end
      self.results[s][f] = result
      local tested = result.sets[1].index
      table.move(tested, 1, #tested, #places + 1, places)
      if progress then
        progress:done(("%s: accuracy %s of %d images"):format(name, plain.percent(result.accuracy), result.images))
      end
    end
  end
  conclude(self, o, places)
  if o.dir then
    local ok, message = require("texres.report").cross_validation(o.dir .. "/report.html", self,
      pictures_of(self, o, places))
    if not ok then raise("cross_validate: %s", message) end
  end
  return self
end
