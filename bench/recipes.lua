--- What training recipes are worth on cloth that they have not seen: each is cross-validated by photograph, with the
-- same folds, seeds and test patches, and compared with the recipe of texres.train.
--
--     python3 bench/windows.py shared/data/textile shared/data/sources OUT               larger windows and their masks
--     python3 bench/windows.py shared/data/textile shared/data/sources OUT64 --size 64
--     lua5.4 bench/recipes.lua --index index.csv --windows OUT --patches OUT64 --seeds 5 --dir runs/recipes
--
-- What has ended in --dir is not trained again.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
package.cpath = "lua/?.so;" .. package.cpath
local tr = require "texres"
local metrics = require "texres.metrics"

local parser = require "argparse" ("recipes.lua", "Cross-validates training recipes on real patches.")
parser:option("--patches", "Folder with windows.npy and masks.npy of 64x64."):count(1)
parser:option("--windows", "Folder with windows.npy and masks.npy of 96x96."):count(1)
parser:option("--index", "CSV file with the columns source and indication_value."):count(1)
parser:option("--recipes", "Which of them, by name."):args "*"
parser:option("--seeds", "How many."):convert(math.tointeger):default "5"
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "16"
parser:option("--epochs", "Passes over the training part."):convert(math.tointeger):default "15"
parser:option("--dir", "Folder for what was trained."):default "runs/recipes"
local options = parser:parse()

local CLASSES = { "good", "color", "cut", "hole", "thread", "metal_contamination" }

--- The patches or windows of a folder, with masks.
local function open(folder)
  return assert(tr.data.npy {
    images = folder .. "/windows.npy", masks = folder .. "/masks.npy", labels = options.index .. ":indication_value",
    classes = CLASSES, groups = options.index .. ":source",
  })
end

local LIGHT = { { "brightness", 0.1 }, { "contrast", 0.1 } }

--- The recipe's transforms: some before, flips and quarter turns, some more moves, light.
local function transforms(before, moves)
  local list = {}
  for _, part in ipairs { before or {}, { "flip", "rotate90" }, moves or {}, LIGHT } do
    table.move(part, 1, #part, #list + 1, list)
  end
  return list
end

local RECIPES = {
  { name = "as texres train", set = "patches", augment = transforms() },
  { name = "turn and scale", set = "patches", augment = transforms(nil, { { "rotate", 10 }, { "scale", 0.1 } }) },
  { name = "windows", set = "windows", augment = transforms(nil, { { "window", 64 } }) },
  { name = "windows, turn and scale", set = "windows",
    augment = transforms(nil, { { "rotate", 10 }, { "scale", 0.1 }, { "window", 64 } }) },
  { name = "pasted defects", set = "patches", augment = transforms { { "paste", p = 0.3 } } },
  { name = "pretrained on synthetic fabric", set = "patches", augment = transforms(), pretrained = true },
}

local function network() return tr.models.textile { width = options.width, head = "mean_max", classes = #CLASSES } end

local learned = {} -- by seed: the weights that synthetic fabric taught

local function pretrained(seed)
  if not learned[seed] then
    local model = network()
    local fabric = tr.data.fabric { count = 6000, seed = seed, sources = 1000 }
    tr.Trainer { model = model, optimizer = { "adamw", lr = 3e-3 }, schedule = { "one_cycle" }, epochs = 8, batch = 64,
      seed = seed, augment = transforms(), quiet = true, watch = false }:fit(fabric)
    learned[seed] = model:state_dict()
  end
  local model = network()
  model:load_state_dict(learned[seed])
  return model
end

local function cross_validate(recipe)
  return tr.cross_validate {
    set = open(options[recipe.set]), folds = 4, seeds = recipe.seeds, views = 8, quiet = true,
    dir = options.dir .. "/" .. recipe.name:gsub("%W+", "_"),
    trainer = function(_, seed)
      return {
        model = recipe.pretrained and pretrained(seed) or network(), epochs = options.epochs, batch = 64, seed = seed,
        optimizer = { "adamw", lr = 3e-3, weight_decay = 1e-4 }, schedule = { "one_cycle" },
        augment = recipe.augment, watch = false,
      }
    end,
  }
end

--- The result of the mean of the scores that the seeds gave each image, each held out from the network that scored it.
local function averaged(cv, set)
  local sum = {}
  for s, seed in ipairs(cv.seeds) do
    for f, fold in ipairs(set:folds { 4, seed = seed, group = set.group }) do
      local scores = cv.results[s][f].scores:totable()
      for i, place in ipairs(fold.test.index) do
        sum[place] = sum[place] or tr.zeros(1, #CLASSES)
        sum[place] = sum[place] + tr.tensor { scores[i] } / #cv.seeds
      end
    end
  end
  return metrics.of_scores(tr.cat(sum, 1), set, 0 / 0)
end

--- Six classes in percent, good or defect as the mean recall of both in percent, area under the ROC.
local function figures(result)
  local right, of, labels = { 0, 0 }, { 0, 0 }, result.labels:totable()
  for i, class in ipairs(result:predictions()) do
    local kind = labels[i] == 1 and 1 or 2
    of[kind] = of[kind] + 1
    if (class == 1) == (labels[i] == 1) then right[kind] = right[kind] + 1 end
  end
  return 100 * result.accuracy, 100 * (right[1] + right[2]) / (of[1] + of[2]),
    50 * (right[1] / of[1] + right[2] / of[2]), result:roc().area
end

local function mean_and_spread(values)
  local t = tr.tensor(values, { dtype = "f64" })
  return t:mean():item(), #values > 1 and t:var(nil, { correction = 1 }):sqrt():item() or 0
end

local warned = {}
local warn = tr.warn
function tr.warn(text) -- the folds of every recipe are the same
  if not warned[text] then warn(text) end
  warned[text] = true
end

local HEAD = "%-32s %-18s %-18s %-18s %s"
local ROW = "%5.1f (%.1f)"
print(HEAD:format("recipe", "six classes", "good or defect", "the same, balanced", "ROC area"))
local base
for _, recipe in ipairs(RECIPES) do
  local wanted = not options.recipes
  for _, name in ipairs(options.recipes or {}) do wanted = wanted or name == recipe.name end
  if wanted then
    recipe.seeds = {}
    for s = 1, options.seeds do recipe.seeds[s] = s end
    local cv = cross_validate(recipe)
    if not cv.pooled then os.exit(130, true) end
    local columns = { {}, {}, {}, {} }
    for s, result in ipairs(cv.by_seed) do
      for c, value in ipairs { figures(result) } do columns[c][s] = value end
    end
    local cells = {}
    for c = 1, 3 do cells[c] = ROW:format(mean_and_spread(columns[c])) end
    print(HEAD:format(recipe.name, cells[1], cells[2], cells[3], ("%.3f (%.3f)"):format(mean_and_spread(columns[4]))))
    local mean = averaged(cv, open(options[recipe.set]))
    print(("  scores of the seeds averaged: %.1f %%, %.1f %%, %.1f %%, %.3f"):format(figures(mean)))
    if base then
      local change = tr.compare(base, mean)
      print(("  %+.1f points (%+.1f to %+.1f): %s"):format(100 * change.difference, 100 * change.low,
        100 * change.high, change.verdict))
    else
      for _, row in ipairs(mean:by_cover()) do
        print(("  covers %3.0f to %3.0f %%: %.1f %% of %d defects found"):format(100 * row.low, 100 * row.high,
          100 * row.found.value, row.found.images))
      end
    end
    base = base or mean
    io.stdout:flush()
  end
end
