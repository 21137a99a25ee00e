--- What 8 bits cost in accuracy, texres' and OpenVINO's, on patches of photographs that a network was not trained on:
--
--     lua5.4 bench/quantized.lua --data shared/data/textile --networks a_f1.safetensors b_f2.safetensors
--
-- A file NAME_fK.safetensors is a network that was trained without the K-th photograph of each class of defects, sorted
-- by name; on these it is judged. It is calibrated on several samples of patches of the others, drawn by chance: what a
-- sample decides is seen by the worst of them. Both sides have the same samples and the same network: OpenVINO that
-- which texres exports. Where $PYTHON can't import openvino and nncf, texres is judged alone.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local here = arg[0]:match "^.*/" or "./"

local parser = require "argparse" ("quantized.lua", "Judges networks in 8 bits on real patches.")
parser:option("--data", "Folder with X.npy and index.csv."):count(1)
parser:option("--networks", "Files NAME_fK.safetensors."):args "+":count(1)
parser:option("--images", "How many calibrate."):convert(math.tointeger):default "300"
parser:option("--samples", "Of images that calibrate."):convert(math.tointeger):default "4"
parser:option("--peer-samples", "Of these, for OpenVINO."):convert(math.tointeger):default "4"
parser:option("--method", "Of classifier:quantize; by default its own.")
parser:option("--threads", "How many."):convert(math.tointeger):default "2"
local options = parser:parse()
tr.set_num_threads(options.threads)

-- -- the patches ------------------------------------------------------------------------------------------------------

local CLASSES = { "good", "color", "cut", "hole", "thread", "metal_contamination" }
local index = options.data .. "/index.csv"
local set = assert(tr.data.npy {
  images = options.data .. "/X.npy", labels = index .. ":indication_value", groups = index .. ":source",
  classes = CLASSES,
})

--- The number of each photograph among those of its class, sorted by name.
local function fold_of_each()
  local names, numbers, count = {}, {}, {}
  for i = 1, #set do
    local source = set:row(i).source
    if not numbers[source] then
      numbers[source], names[#names + 1] = 0, source
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local class = name:match "^[^/]*"
    count[class] = (count[class] or 0) + 1
    numbers[name] = count[class]
  end
  return numbers
end
local folds = fold_of_each()

--- The patches that a network was trained on and those that it is judged by. Of good cloth there is one photograph, of
-- which all patches are trained on.
local function split(fold)
  local function is_held(_, row) return folds[row.source] == fold and not row.source:find "^good/" end
  return set:filter(function(...) return not is_held(...) end), set:filter(is_held)
end

--- So many patches of a set, drawn by chance: sample 1, 2, ...
local function drawn(from, count, sample)
  math.randomseed(sample)
  local order = {}
  for i = 1, #from do order[i] = i end
  for i = 1, count do
    local other = math.random(i, #from)
    order[i], order[other] = order[other], order[i]
  end
  return from:subset(table.move(order, 1, count, 1, {}))
end

-- -- the sides --------------------------------------------------------------------------------------------------------

local python = os.getenv "PYTHON" or "python3"
local has_openvino = os.execute(python .. " -c 'import openvino, nncf' >/dev/null 2>&1")

--- {f32 =, int8 =, same =}, shares of 1, as quantized_openvino.py finds them.
local function of_openvino(classifier, calibrate, test)
  local found, folder = {}, os.tmpname()
  assert(os.remove(folder) and tr.make_folder(folder))
  assert(classifier:export_onnx(folder .. "/net.onnx"))
  assert(tr.save_npy(folder .. "/calibrate_x.npy", calibrate:images()))
  assert(tr.save_npy(folder .. "/test_x.npy", test:images()))
  assert(tr.save_npy(folder .. "/test_y.npy", test:labels() - 1))
  local answers = io.popen(("%s %squantized_openvino.py %s %s/net.onnx"):format(python, here, folder, folder))
  for line in answers:lines() do
    local name, share = line:match "^(%S+) (%S+)$"
    found[name] = tonumber(share)
  end
  answers:close()
  os.execute("rm -r " .. folder)
  return found
end

--- The accuracy, and the class of each patch.
local function judged(classifier, test)
  local labels = {}
  for i, answer in ipairs(classifier:predict(test:images())) do labels[i] = answer.label end
  return classifier:evaluate(test).accuracy, labels
end

--- {f32 =, int8 =, same =}; f32 and `before`: what was judged without 8 bits.
local function of_texres(classifier, calibrate, test, f32, before)
  local int8, after = judged(classifier:quantize(calibrate, { method = options.method, images = #calibrate }), test)
  local same = 0
  for i, label in ipairs(before) do same = same + (after[i] == label and 1 or 0) end
  return { f32 = f32, int8 = int8, same = same / #before }
end

-- -- the table --------------------------------------------------------------------------------------------------------

--- Of what a side found with each sample, as text: points won or lost on average, in the worst and in the best case,
-- and the share that kept its class, on average.
local function summary(found)
  if #found == 0 then return "- | - | - | -" end
  local worst, best, points, same = math.huge, -math.huge, 0, 0
  for _, one in ipairs(found) do
    local change = 100 * (one.int8 - one.f32)
    worst, best = math.min(worst, change), math.max(best, change)
    points, same = points + change / #found, same + 100 * one.same / #found
  end
  return ("%+.2f | %+.2f | %+.2f | %.2f"):format(points, worst, best, same)
end

print("| network, held-out patches | f32 | texres 8 bits, points: mean | worst | best | same class "
  .. "| OpenVINO 8 bits, points: mean | worst | best | same class |")
print("|---" .. ("|---:"):rep(9) .. "|")
for _, path in ipairs(options.networks) do
  local classifier = assert(tr.load(path))
  local fold = math.tointeger(path:match "_f(%d+)%.safetensors$") or error(path .. ": the name does not end in _fK")
  local train, test = split(fold)
  local mine, theirs, f32, before = {}, {}, judged(classifier, test)
  for sample = 1, options.samples do
    local calibrate = drawn(train, options.images, sample)
    mine[sample] = of_texres(classifier, calibrate, test, f32, before)
    if has_openvino and sample <= options.peer_samples then
      theirs[sample] = of_openvino(classifier, calibrate, test)
    end
  end
  print(("| %s, %d | %.2f | %s | %s |"):format(path:match "([^/]*)%.safetensors$", #test, 100 * f32,
    summary(mine), summary(theirs)))
end
