--- What 8 bits cost in accuracy, texres' and OpenVINO's, on patches of photographs that a network was not trained on:
--
--     lua5.4 bench/quantized.lua --data shared/data/textile --networks a_f1.safetensors b_f2.safetensors
--
-- A file NAME_fK.safetensors is a network that was trained without the K-th photograph of each class of defects, sorted
-- by name; on these it is judged. Both sides are calibrated on the same patches of the others, and have the same
-- network: OpenVINO that which texres exports. Where $PYTHON can't import openvino and nncf, texres is judged alone.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"
local here = arg[0]:match "^.*/" or "./"

local parser = require "argparse" ("quantized.lua", "Judges networks in 8 bits on real patches.")
parser:option("--data", "Folder with X.npy and index.csv."):count(1)
parser:option("--networks", "Files NAME_fK.safetensors."):args "+":count(1)
parser:option("--images", "That calibrate."):convert(math.tointeger):default "300"
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

--- So many patches of a set, spread evenly.
local function spread(from, count)
  local list = {}
  for i = 1, count do list[i] = 1 + (i - 1) * #from // count end
  return from:subset(list)
end

-- -- the sides --------------------------------------------------------------------------------------------------------

local python = os.getenv "PYTHON" or "python3"
local has_openvino = os.execute(python .. " -c 'import openvino, nncf' >/dev/null 2>&1")

--- {f32 =, int8 =, same =}, shares of 1, as quantized_openvino.py finds them; empty where there is none.
local function of_openvino(classifier, calibrate, test)
  local found = {}
  if not has_openvino then return found end
  local folder = os.tmpname()
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

local function of_texres(classifier, calibrate, test)
  local f32, before = judged(classifier, test)
  local int8, after = judged(classifier:quantize(calibrate, { method = options.method, images = #calibrate }), test)
  local same = 0
  for i, label in ipairs(before) do same = same + (after[i] == label and 1 or 0) end
  return { f32 = f32, int8 = int8, same = same / #before }
end

-- -- the table --------------------------------------------------------------------------------------------------------

local function percent(share) return share and ("%.2f"):format(100 * share) or "-" end
local function points(found) return found.f32 and ("%+.2f"):format(100 * (found.int8 - found.f32)) or "-" end

print("| network, held-out patches | f32 | texres 8 bits | points | same class "
  .. "| OpenVINO f32 | 8 bits | points | same class |")
print "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
for _, path in ipairs(options.networks) do
  local classifier = assert(tr.load(path))
  local fold = math.tointeger(path:match "_f(%d+)%.safetensors$") or error(path .. ": the name does not end in _fK")
  local train, test = split(fold)
  local calibrate = spread(train, options.images)
  local mine, theirs = of_texres(classifier, calibrate, test), of_openvino(classifier, calibrate, test)
  print(("| %s, %d | %s |"):format(path:match "([^/]*)%.safetensors$", #test, table.concat({
    percent(mine.f32), percent(mine.int8), points(mine), percent(mine.same),
    percent(theirs.f32), percent(theirs.int8), points(theirs), percent(theirs.same),
  }, " | ")))
end
