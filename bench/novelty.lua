--- How well a network finds a class of defects that nobody has shown to it: each class in turn is left out of training,
-- with all photographs of it, and looked for among held-out photographs of the others.
--
--     lua5.4 bench/novelty.lua shared/data/textile
--
-- Fold f holds out the f-th photograph of each class. Known are all patches of these photographs whose class the
-- network has learned; unknown are all patches of the class that was left out. For each, a row: the network's accuracy
-- on the known ones; the area under the ROC curve, by which unknown patches are told from known ones (0.5: as by
-- chance), for classifier:fit_novelty, for three of its alternatives, and for the plainest, the largest probability;
-- and which shares are flagged. For known patches the threshold is chosen on the other held-out photographs, so that
-- they are of cloth that it has not seen; for unknown ones on all that are held out.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = "lua/?.so;" .. package.cpath
local tr = require "texres"
local curve = require "texres.metrics.curve"
local gaussians = require "texres.gaussians"
local novelty = require "texres.novelty"

local parser = require "argparse" ("novelty.lua", "Leaves one class of real defects out of training and looks for it.")
parser:argument("data", "Folder with X.npy and index.csv, which has the columns source and indication_value.")
parser:option("--folds", "Which photograph of each class is held out."):args "+":convert(math.tointeger)
  :default { 1, 2, 3 }
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "16"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "10"
parser:option("--false-alarms", "Share of known patches that may be flagged."):convert(tonumber):default "0.05"
local options = parser:parse()

local CLASSES = { "good", "color", "cut", "hole", "thread", "metal_contamination" }
local index = options.data .. "/index.csv"
local set = assert(tr.data.npy {
  images = options.data .. "/X.npy", labels = index .. ":indication_value", classes = CLASSES,
  groups = index .. ":source",
})
local source = set.meta.source

--- The number of each photograph among those of its class, by name.
local function numbers_of_photographs()
  local names, number, count = {}, {}, {}
  for _, name in ipairs(source) do
    if not number[name] then names[#names + 1], number[name] = name, 0 end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local class = name:match "^[^/]*"
    count[class] = (count[class] or 0) + 1
    number[name] = count[class]
  end
  return number
end

local number = numbers_of_photographs()

--- The images at these positions, with the known classes alone.
local function known_part(positions, known)
  local label, of = {}, {}
  for k, name in ipairs(known) do of[name] = k end
  for i, at in ipairs(positions) do label[i] = of[CLASSES[set.label[at]]] end
  return set:subset(positions):with_labels(label, known)
end

--- Where a class is left out and a fold held out: what is trained on and what is known, as sets of the other classes;
-- and what is unknown, which is given the first of them.
local function parts_of(left_out, fold)
  local known, train, held, novel = {}, {}, {}, {}
  for _, name in ipairs(CLASSES) do known[#known + 1] = name ~= left_out and name or nil end
  for i, photograph in ipairs(source) do
    local folder = photograph:match "^[^/]*"
    if CLASSES[set.label[i]] == left_out then
      novel[#novel + 1] = i
    elseif folder ~= "good" and number[photograph] == fold then -- of good cloth there is one photograph
      held[#held + 1] = i
    elseif folder ~= left_out then
      train[#train + 1] = i
    end
  end
  local first = {}
  for i = 1, #novel do first[i] = 1 end
  return known_part(train, known), known_part(held, known), set:subset(novel):with_labels(first, known)
end

local function train_on(part, seed)
  tr.manual_seed(seed)
  local trainer = tr.Trainer {
    model = tr.models.textile { width = options.width, head = "mean_max", classes = #part.classes }, seed = seed,
    epochs = options.epochs, batch = 64, optimizer = { "adamw", lr = 3e-3, weight_decay = 1e-2 },
    schedule = { "one_cycle" }, augment = { "flip", "rotate90", { "brightness", 0.1 }, { "contrast", 0.1 } },
    quiet = true, watch = false,
  }
  trainer:fit(part)
  return require("texres.classifier").new { model = trainer.model }
end

-- -- scores: the higher, the less known -------------------------------------------------------------------------------

--- What the last dense layer is given for a set, {N,D}, and labels i64 {N}.
local function features_of(clf, part)
  local rows, labels = {}, {}
  for images, own in clf:loader(part, { batch = 128 }):batches(1) do
    rows[#rows + 1], labels[#labels + 1] = clf.model:features(images, "head.1"):detach(), own
  end
  return tr.cat(rows, 1), tr.cat(labels, 1)
end

local function unit(rows) return rows / rows:norm(2, true) end

local function fitted(rows, labels, classes)
  local sums = gaussians.sums(rows:size(2), classes)
  sums:add(rows, labels)
  return sums:fit()
end

--- Alternatives: the distances of features as they are, those of features of unit length, and these less, squared,
-- those from one distribution of all images. Functions of features.
local function alternatives(clf, train)
  local rows, labels = features_of(clf, train)
  local plain, round = fitted(rows, labels, #train.classes), fitted(unit(rows), labels, #train.classes)
  local whole = fitted(unit(rows), labels * 0 + 1, 1)
  return {
    plain = function(x) return (gaussians.distances(plain, x)) end,
    distance = function(x) return (gaussians.distances(round, unit(x))) end,
    relative = function(x)
      local own, all = gaussians.distances(round, unit(x)), gaussians.distances(whole, unit(x))
      return own * own - all * all
    end,
  }
end

local function least_sure(clf, part)
  local scores = {}
  local p = clf:evaluate(part).scores
  for i, row in ipairs(p:totable()) do scores[i] = 1 - math.max(table.unpack(row)) end
  return scores
end

-- -- figures ----------------------------------------------------------------------------------------------------------

local function area(novel, known)
  local scores, belongs = table.move(known, 1, #known, #novel + 1, table.move(novel, 1, #novel, 1, {})), {}
  for i = 1, #scores do belongs[i] = i <= #novel end
  return curve.roc(tr.tensor(scores, { dtype = "f64" }), belongs).area
end

local function share_above(list, threshold)
  local count = 0
  for _, score in ipairs(list) do count = count + (score > threshold and 1 or 0) end
  return count / #list
end

--- The threshold that the given share of the scores is above.
local function threshold_of(scores)
  local sorted = table.move(scores, 1, #scores, 1, {})
  table.sort(sorted)
  return sorted[#sorted - math.floor(options.false_alarms * #sorted)]
end

--- The threshold of what was fitted, chosen on these scores.
local function calibrated(found, scores, photographs)
  novelty.calibrate(found, scores, options.false_alarms, photographs)
  return found.threshold
end

--- Which share of the known images is above a threshold that choose(scores, photographs) finds on those of the other
-- photographs.
local function flagged_elsewhere(scores, photographs, choose)
  local count, seen = 0, {}
  for _, photograph in ipairs(photographs) do seen[photograph] = true end
  for photograph in pairs(seen) do
    local own, others, whose = {}, {}, {}
    for i, score in ipairs(scores) do
      table.insert(photographs[i] == photograph and own or others, score)
      if photographs[i] ~= photograph then whose[#others] = photographs[i] end
    end
    count = count + share_above(own, choose(others, whose)) * #own
  end
  return count / #scores
end

local COLUMNS = { "accuracy", "novelty", "distance", "plain", "relative", "softmax", "known flagged", "flagged",
  "known flagged, softmax", "flagged, softmax" }

local function measure(left_out, fold)
  local train, known, novel = parts_of(left_out, fold)
  local clf = train_on(train, fold)
  local found = clf:fit_novelty(train, { calibrate = known, false_alarms = options.false_alarms })
  local row, photographs = { accuracy = clf:evaluate(known).accuracy }, known.meta.source
  local of_known, of_novel = clf:novelty_of(known), clf:novelty_of(novel)
  row.novelty = area(of_novel, of_known)
  row.flagged = share_above(of_novel, found.threshold)
  row["known flagged"] = flagged_elsewhere(of_known, photographs, function(...) return calibrated(found, ...) end)
  local known_rows, novel_rows = features_of(clf, known), features_of(clf, novel)
  for name, score in pairs(alternatives(clf, train)) do
    row[name] = area(score(novel_rows):totable(), score(known_rows):totable())
  end
  of_known, of_novel = least_sure(clf, known), least_sure(clf, novel)
  row.softmax = area(of_novel, of_known)
  row["flagged, softmax"] = share_above(of_novel, threshold_of(of_known))
  row["known flagged, softmax"] = flagged_elsewhere(of_known, photographs, threshold_of)
  return row
end

-- -- all together -----------------------------------------------------------------------------------------------------

local function print_row(first, row)
  local cells = {}
  for c, name in ipairs(COLUMNS) do
    local share = name == "accuracy" or name:find "flagged"
    cells[c] = share and ("%.1f %%"):format(100 * row[name]) or ("%.3f"):format(row[name])
  end
  print(("| %s | %s |"):format(first, table.concat(cells, " | ")))
  io.stdout:flush()
end

local function mean_of(rows)
  local mean = {}
  for _, name in ipairs(COLUMNS) do
    mean[name] = 0
    for _, row in ipairs(rows) do mean[name] = mean[name] + row[name] / #rows end
  end
  return mean
end

print("| left out, fold | " .. table.concat(COLUMNS, " | ") .. " |")
print("| --- |" .. (" ---: |"):rep(#COLUMNS))
local all = {}
for c = 2, #CLASSES do
  local rows = {}
  for _, fold in ipairs(options.folds) do
    local row = measure(CLASSES[c], fold)
    rows[#rows + 1], all[#all + 1] = row, row
    print_row(("%s, %d"):format(CLASSES[c], fold), row)
  end
  if #rows > 1 then print_row(CLASSES[c] .. ", mean", mean_of(rows)) end
end
print_row("all", mean_of(all))
