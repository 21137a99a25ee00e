--- The main job in one call: a network for a set of images, how good it is on images that it has not seen, and pages
-- that tell both. `texres train` is this function.
--
--     local done = assert(texres.train { set = "pictures/", groups = "index.csv:source", dir = "run" })
--     print(done)                    -- the split, the metrics, where network and report are
--     done.result, done.trainer, done.validation   -- metrics; the trainer; the cross-validation, where there was one
--
-- How good a network is, is measured on what was held out, and what is held out depends on what is known of the set:
--
--     test                  a set of its own is tested on, and a part of the other one is for validation
--     a column `split`      parts as the set names them (folders train, val, test), where nothing else is asked for
--     groups, 40 or more    whole groups (photographs, rolls) are held out
--     fewer groups          a test part of a few of them would tell little, and take them away from the training:
--                           cross-validation tells how good the network is, and what is kept is trained on all images
--     no groups             by chance: images of one photograph may stand on both sides, and the figure be too good
-- @module texres.train

local classes = require "texres.classes"
local columns = require "texres.data.columns"
local core = require "texres.core"
local cross_validate = require "texres.cross_validate"
local data = require "texres.data"
local distributed = require "texres.distributed"
local grouping = require "texres.data.grouping"
local lists = require "texres.data.lists"
local models = require "texres.models"
local names = require "texres.data.names"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local strict = require "texres.strict"
local Trainer = require "texres.trainer"

local train = {}

local FEW = 40 -- groups
local FOLDS = 4

local SHARE = option.number(nil, "[0, 1]")
local SHARES = option.kind("three shares, for training, validation and test, such as { 0.7, 0.15, 0.15 }",
  function(value)
    return option.is_list(value, function(share) return SHARE.accept(share) ~= nil end) and #value == 3
      and value[1] > 0 and math.abs(value[1] + value[2] + value[3] - 1) < 1e-6
  end)
local SET = option.kind("a path or a data set", function(value)
  return option.PATH.accept(value) ~= nil or type(value) == "table" and value.loader ~= nil
end)

--- The options, by name.
train.KNOWN = {
  set = SET, -- required: a path, as texres.data.open takes it, or a set
  test = SET, -- a set of its own to test on
  groups = option.text(), -- the column that says which images belong together; of a path also "index.csv:source"
  labels = option.text(), -- of a path: where its labels are, as for texres.data.open
  classes = option.table(), -- of a path: the names of the classes, in their order
  size = option.any(), -- of a path: what pictures are resized to, n or {height, width}
  channels = option.integer(nil, "[1, 4]"), -- of a path: 1 makes pictures gray, 3 RGB
  split = SHARES, -- by default 0.7, 0.15, 0.15
  folds = option.integer(nil, "[2, inf)"), -- cross-validate over so many; by default 4 where there are few groups
  seeds = option.integer(1, "[1, inf)"), -- of the cross-validation
  network = option.any "textile", -- a name of texres.models, or { name, options }; of textile by default width 16
  epochs = option.integer(15, "[1, inf)"), -- how often all training images are seen
  batch = option.integer(64, "[1, inf)"), -- images at a time
  lr = option.number(3e-3, "[0, inf)"), -- the highest, of a cycle
  weight_decay = option.number(1e-4, "[0, inf)"), -- of AdamW
  seed = option.integer(1, "[0, inf)"), -- of the split, the weights and the batches
  augment = option.table(), -- by default flips, quarter turns (of square images), brightness and contrast
  patience = option.COUNT, -- stop after so many epochs without a better one
  balanced = option.switch(false), -- every class equally often
  good = option.text(classes.GOOD), -- the class that means no defect
  false_reject = option.number(0.05, "[0, 1]"), -- share of the good pieces that may be rejected
  escape = SHARE, -- in its place: share of the defects that may pass
  novelty = option.number(nil, "(0, 1)"), -- share of the validation images that may be unknown: see fit_novelty
  bad = option.choice("error", { "error", "skip" }), -- what becomes of pictures that can't be read
  dir = option.PATH, -- folder for network and reports: by default "run"
  resume = option.switch(false), -- go on with what dir holds
  quiet = option.switch(false), -- nothing is told but what is returned
  tell = option.FUNCTION, -- gets the split as text before the training begins; by default standard error does
}

-- -- the set ----------------------------------------------------------------------------------------------------------

local OF_SET = { "groups", "labels", "classes", "size", "channels" }

-- A set that is given as such, with the groups that are asked for.
local function grouped(set, column)
  if not column or column == set.group then return set end
  if not set.meta[column] then
    raise("train: groups is '%s', and the set has no such column; there are %s", column,
      table.concat(plain.names(set.meta), ", "))
  end
  local copy = set:subset(lists.count_up(#set))
  copy.group = column
  return copy
end

local function open(o)
  if type(o.set) ~= "string" then return grouped(o.set, o.groups) end
  local given = {}
  for _, name in ipairs(OF_SET) do given[name] = o[name] end
  if o.bad == "skip" then given.pictures = { bad = "skip" } end
  return data.open(o.set, given)
end

local function open_test(o, set)
  if type(o.test) ~= "string" then return o.test end
  local source = set.source
  return data.open(o.test, { pictures = {
    size = { source.height, source.width }, channels = source.channels, bad = o.bad,
  } })
end

--- What makes a set useless for a training, as a message.
local function obstacle(set)
  local found, of = 0, nil
  for c, count in ipairs(set:counts()) do
    if count > 0 then found, of = found + 1, set.classes[c] end
  end
  if found > 1 then return nil end
  if found == 0 then return "there are no images to learn from" end
  return ("all %d images are of one class, '%s': it takes two to tell apart, such as a folder of pictures for each")
    :format(#set, of)
end

--- The set that the options name, where it can be trained on; or nil and a message.
local function open_useful(o)
  local set, message = open(o)
  if not set then return nil, message end
  message = obstacle(set)
  if message then return nil, ("%s: %s"):format(set.origin or "the set", message) end
  return set
end

-- -- the split --------------------------------------------------------------------------------------------------------

local function counted(n, what) return ("%s %s%s"):format(plain.grouped(n), what, n == 1 and "" or "s") end

--- The parts that a column `split` names: { train =, val =, test = }, sets; nil where it does not name them for all.
local function named_parts(set)
  local column, parts = set.meta.split, {}
  if not column then return nil end
  for i = 1, #set do
    local word = type(column[i]) == "string" and names.part_in(column[i])
    local part = word and (word:find "^train" and "train" or word:find "^test" and "test" or "val")
    if not part then return nil end
    parts[part] = parts[part] or {}
    table.insert(parts[part], i)
  end
  if not parts.train or not (parts.val or parts.test) then return nil end
  for part, positions in pairs(parts) do parts[part] = set:subset(positions) end
  return parts
end

--- What a split by chance is worth, as a sentence.
local function caution_of(set)
  local column = columns.find_all(set.meta, names.groups)[1]
  return ("caution: nothing says which images belong together. Where several are of one photograph, roll or piece, "
    .. "they stand on both sides of the split, and the figures are too good (groups names the column that says it%s)")
    :format(column and ("; '%s' may"):format(plain.visible_name(column)) or "")
end

--- A split of a set into shares, by groups where there are several: a list of sets, and why.
local function parts_by_shares(set, shares, o, groups)
  local by = groups and #groups > 1 and set.group or nil
  local given = { group = by, seed = o.seed, stratify = true }
  table.move(shares, 1, #shares, 1, given)
  local why = by and ("of %s in column '%s', which stay whole"):format(counted(#groups, "group"),
    plain.visible_name(by)) or "by chance"
  return { set:split(given) }, why, not by
end

local function filled(set) return set and #set > 0 and set or nil end

--- The parts without those that are empty, and how it came to them.
local function as_plan(parts, why, careless)
  local plan = { train = parts[1], val = filled(parts[2]), test = filled(parts[3]), careless = careless }
  plan.text = ("%s: %s to train, %s to validate, %s to test"):format(why, plain.grouped(#plan.train),
    plain.grouped(plan.val and #plan.val or 0), plain.grouped(plan.test and #plan.test or 0))
  return plan
end

--- A part for validation of what is trained on, where the test stands by itself.
local function beside_test(set, test, o, groups, what)
  local share = (o.split or { 0.7, 0.15 })[2]
  local parts, why, careless = parts_by_shares(set, { 1 - share, share }, o, groups)
  parts[3] = test
  local plan = as_plan(parts, ("%s; validation %s"):format(what, why), false)
  if careless and plan.val and plan.test == nil then plan.careless = true end
  return plan
end

--- Groups of a set, nil where none are known.
local function groups_of(set) return set.group and grouping.list(set, set.group, "train") end

--- What is trained on, validated and tested, or over how many folds, and why: { text =, ... }; or nil and a message.
local function plan_of(set, test, o)
  local groups, count = groups_of(set), counted(#set, "image")
  if test then return beside_test(set, test, o, groups, count .. ", and a set of its own to test on") end
  local named = not o.split and not o.folds and named_parts(set)
  if named then
    local what = count .. ", in parts as the column 'split' names them"
    if named.val then return as_plan({ named.train, named.val, named.test }, what, false) end
    return beside_test(named.train, named.test, o, groups_of(named.train), what)
  end
  if groups and #groups == 1 then
    return nil, ("all %s are of one group, '%s' in column '%s': nothing can be held out that the network has not seen; "
      .. "without groups the split is by chance"):format(count, plain.visible_name(plain.text(groups[1].value)),
      plain.visible_name(set.group))
  end
  local few = groups and #groups < FEW and not o.split
  if o.folds or few then
    local folds = o.folds or math.min(FOLDS, #groups)
    return { train = set, folds = folds, careless = not groups, text = ("%s%s: %scross-validation over %d folds, then "
      .. "the network that is kept is trained on all images"):format(count, groups and (" of %s in column '%s'"):format(
      counted(#groups, "group"), plain.visible_name(set.group)) or "",
      few and not o.folds and ("under %d groups are too few to hold some out, so "):format(FEW) or "", folds) }
  end
  local parts, why, careless = parts_by_shares(set, o.split or { 0.7, 0.15, 0.15 }, o, groups)
  return as_plan(parts, ("%s, %s"):format(count, why), careless)
end

-- -- the recipe -------------------------------------------------------------------------------------------------------

-- What a network is given where nothing else is asked for. The width 64, as published, takes ten times as long, and was
-- within a point of 16 on photographs that were held out.
local OF_NETWORK = { textile = { width = 16, head = "mean_max" } }

local NOT_NETWORKS = { build = true, torchvision = true }

--- The function of texres.models that makes the network of that name; nil where there is none.
function train.maker(name) return type(name) == "string" and not NOT_NETWORKS[name] and rawget(models, name) or nil end

--- Names of the networks that can be trained, sorted.
train.NETWORKS = {}
for _, name in ipairs(plain.names(models)) do
  if train.maker(name) then table.insert(train.NETWORKS, name) end
end

--- The name and the options of the network; raises where there is none of that name.
local function network_of(o)
  local name, given = option.named(o.network)
  if not train.maker(name) then
    raise("train: network is %s, wanted one of %s", option.shown(name), table.concat(train.NETWORKS, ", "))
  end
  for key, value in pairs(OF_NETWORK[name] or {}) do
    if given[key] == nil then given[key] = value end
  end
  return name, given
end

local function is_square(set) return set.source.height == set.source.width end

local function augment_of(o, set)
  if o.augment then return o.augment end
  local list = { "flip", { "brightness", 0.1 }, { "contrast", 0.1 } }
  if is_square(set) then table.insert(list, 2, "rotate90") end
  return list
end

--- What a trainer is told, for a network of its own; the random numbers begin with the seed.
local function recipe(o, set, seed)
  local name, given = network_of(o)
  local words = option.listed(given, "width")
  given.in_channels, given.classes = set.source.channels, #set.classes
  core.manual_seed(seed)
  local model, message = models[name](given)
  if not model then raise("train: %s", message) end
  return {
    name = words ~= "" and ("%s, %s"):format(name, words) or name, model = model,
    optimizer = { "adamw", lr = o.lr, weight_decay = o.weight_decay }, schedule = { "one_cycle" },
    epochs = o.epochs, batch = o.batch, seed = seed, augment = augment_of(o, set), bad = o.bad, balanced = o.balanced,
    quiet = o.quiet,
  }
end

--- What the operating point is to keep to; nil, and why there is none, where images of one side are missing.
local function budget_of(o, set)
  local good = classes.find(set.classes, o.good)
  if not good then
    return nil, ("no class is named '%s', so there is no operating point (good: the class that means no defect)")
      :format(plain.visible_name(o.good))
  end
  local goods = set:counts()[good]
  if goods == 0 or goods == #set then
    return nil, ("there are %d good images and %d defects to choose it on, so there is no operating point"):format(
      goods, #set - goods)
  end
  return { good = o.good, escape = o.escape, false_reject = not o.escape and o.false_reject or nil }
end

-- -- what came out ----------------------------------------------------------------------------------------------------

local Done = strict.class("a training", {}, {
  "validation", "result", "measured", "point", "without_point", "novelty", "without_novelty", "careless", "interrupted",
})

--- Shares at the operating point on the test, as a line; nil where they say nothing.
local function at_point(self)
  local point, result = self.point, self.result
  if not point or not result or self.measured ~= "test" then return nil end
  local goods = result.per_class[classes.find(result.classes, point.good)].support
  if goods == 0 or goods == result.images then return nil end
  local at = result:at_operating_point(point)
  return ("at the operating point %s of the defects pass, %s of the good pieces are rejected"):format(
    plain.percent(at.escape.value), plain.percent(at.false_reject.value))
end

--- What is told before and after the metrics: two lists of lines.
local function lines_of(self)
  local before, after = {}, {}
  if self.validation then
    before[1] = tostring(self.validation)
  elseif self.measured then
    before[1] = "on the " .. self.measured .. " images:"
  else
    before[1] = "no images were left to test on"
  end
  after[#after + 1] = at_point(self)
  if self.point and not self.validation then after[#after + 1] = tostring(self.point) end
  after[#after + 1] = self.without_point
  after[#after + 1] = self.novelty and tostring(self.novelty) or self.without_novelty
  if self.careless and self.result then after[#after + 1] = self.careless end
  local cv = self.validation and ("%s/cv/report.html, "):format(self.dir) or ""
  after[#after + 1] = plain.visible_name(("report: %s%s/report.html, network: %s/best.safetensors"):format(cv, self.dir,
    self.dir))
  return before, after
end

--- The result, and where network and report are.
function Done:__tostring()
  if self.interrupted then return "stopped: resume goes on" end
  local before, after = lines_of(self)
  local result = self.result and tostring(self.result) or ""
  return table.concat(before, "\n") .. "\n\n" .. result .. "\n\n" .. table.concat(after, "\n")
end

--- The same written to a stream (standard output), in colours where it is a terminal.
function Done:show(stream)
  stream = stream or io.stdout
  if self.interrupted or not self.result then
    stream:write(tostring(self), "\n")
    return
  end
  local before, after = lines_of(self)
  stream:write(table.concat(before, "\n"), "\n\n")
  self.result:show(stream)
  stream:write("\n", table.concat(after, "\n"), "\n")
end

-- -- all together -----------------------------------------------------------------------------------------------------

--- Whether a folder has a run in it. No rank of a job begins one before all have looked.
local function holds_run(dir)
  local holds = core.file_kind(dir .. "/last.safetensors") == "file" or core.file_kind(dir .. "/run.json") == "file"
    or core.file_kind(dir .. "/cv") == "folder"
  distributed.barrier()
  return holds
end

local function cross_validation(o, set, folds, budget)
  local seeds = {}
  for s = 1, o.seeds do seeds[s] = o.seed + s - 1 end
  return cross_validate {
    set = set, folds = folds, seeds = seeds, views = is_square(set) and 8 or 4, dir = o.dir .. "/cv", quiet = o.quiet,
    operating_point = budget, trainer = function(_, seed)
      local told = recipe(o, set, seed)
      told.quiet = true
      return told
    end,
  }
end

local function read_options(options)
  local o = option.read("train", options, train.KNOWN)
  option.check("train", "set", o.set, SET)
  for _, name in ipairs(OF_SET) do
    if name ~= "groups" and o[name] ~= nil and type(o.set) ~= "string" then
      raise("train: %s is for a path, and set is a data set, which has its own", name)
    end
  end
  if o.split and o.folds then raise "train: split and folds are two ways to hold images out: give one" end
  network_of(o) -- which checks it
  o.dir = (o.dir or "run"):gsub("(.)/+$", "%1")
  o.tell = o.tell or function(text)
    if not o.quiet and distributed._tells() then io.stderr:write(text, "\n") end
  end
  return o
end

--- Trains the network that is kept; true, or false after a Ctrl-C.
local function train_kept(self, o, plan, budget)
  local told = recipe(o, plan.train, o.seed)
  told.dir, told.resume, told.patience = o.dir, o.resume, plan.val and o.patience or nil
  told.operating_point = plan.val and budget
  told.keep = plan.val and "best" or "last"
  self.trainer = Trainer(told)
  self.trainer:fit(plan.train, plan.val)
  if self.trainer.interrupted then return false end
  local pooled = self.validation and self.validation.operating_point
  if pooled then self.trainer:set_operating_point(pooled) end
  return true
end

--- What the network that is kept knows of images unlike its own, where that is asked for; or why it knows nothing.
local function novelty_of(self, o)
  if not o.novelty then return nil end
  if not self.plan.val then
    return nil, "no images are held out for validation, so there is no threshold of what is unknown (texres novelty "
      .. "chooses it on other images)"
  end
  return self.trainer:fit_novelty(self.plan.train, {
    calibrate = self.plan.val, false_alarms = o.novelty, batch = o.batch, bad = o.bad,
  })
end

--- Trains, tests and reports. An object that print() shows, with
--
--     plan          what was held out: text, and train, val, test (sets, or nil) or folds
--     trainer       the trainer of the network that is kept
--     validation    the cross-validation (texres.cross_validate), where there was one
--     result        metrics on what was held out, nil where nothing was; measured: "test", "validation" or "held-out"
--     point         the operating point in the model's file, or nil
--     novelty       what the model's file has of images that are unknown (texres.novelty), or nil
--     interrupted   by Ctrl-C: another call with resume = true goes on
--
-- Nil and a message where the set can't be read or trained on, or dir holds a run and resume was not asked for.
function train.run(options)
  local o = read_options(options)
  if not o.resume and holds_run(o.dir) then
    return nil, ("%s holds a run already: go on with it (resume), or name another folder (dir)"):format(o.dir)
  end
  local set, message = open_useful(o)
  if not set then return nil, message end
  local test, plan
  if o.test then
    test, message = open_test(o, set)
    if not test then return nil, message end
  end
  plan, message = plan_of(set, test, o)
  if not plan then return nil, message end
  recipe(o, set, o.seed) -- what is wrong with the network is told before anything else
  o.tell(plan.text)
  local careless = plan.careless and caution_of(set)
  if careless then o.tell(careless) end
  local self = setmetatable({ plan = plan, dir = o.dir, careless = careless, interrupted = false }, Done)
  local chosen_on, budget = plan.folds and set or plan.val, nil
  if chosen_on then budget, self.without_point = budget_of(o, chosen_on) end
  if plan.folds then
    self.validation = cross_validation(o, set, plan.folds, budget)
    self.result, self.measured = self.validation.pooled, "held-out"
    if not self.result then
      self.interrupted = true
      return self
    end
  end
  if not train_kept(self, o, plan, budget) then
    self.interrupted = true
    return self
  end
  self.point = self.trainer.best_takes and self.trainer.best_takes.operating_point
  self.novelty, self.without_novelty = novelty_of(self, o)
  if plan.test then
    self.result, self.measured = self.trainer:evaluate(plan.test), "test"
  elseif plan.val then
    self.result, self.measured = self.trainer.validation, "validation"
  end
  return self
end

--- Which learning rate a training with these options should have: what Trainer:find_lr tells for all images of the set,
-- a list of { lr =, loss = } that print() shows, with `highest`, which is what `lr` of the training means. `search`:
-- low, high, steps. Nothing is changed. Nil and a message where the set can't be read or trained on. It is
-- texres.find_lr.
function train.find_lr(options, search)
  local o = read_options(options)
  local set, message = open_useful(o)
  if not set then return nil, message end
  local seed, stream = core.rng_state()
  return protect.finally(function() core.rng_state(seed, stream) end, function()
    return Trainer(recipe(o, set, o.seed)):find_lr(set, search)
  end)
end

train.run = plain.telling(train.run)
train.find_lr = plain.telling(train.find_lr)

return train
