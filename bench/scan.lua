-- How well and how fast a trained network scans photographs with masks, and what a long strip takes.
--
--     lua bench/scan.lua sources FOLDER NET:NAME,NAME... ...     photographs NAME.png, CLASS_NNN, with NAME_mask.png,
--                                                                each by the network that was not trained on it
--     lua bench/scan.lua strip NET PICTURE [ROWS [COLUMNS]]      a picture over and over as a strip: pixels per second
--                                                                and the largest memory
--
-- STEP, MODE and THREADS in the environment: of the scan. OVERLAYS: a folder for pictures of what was found.

local tr = require "texres"

local options = { step = math.tointeger(tonumber(os.getenv "STEP")), mode = os.getenv "MODE" }
tr.set_num_threads(math.tointeger(tonumber(os.getenv "THREADS" or 2)))

-- -- photographs ------------------------------------------------------------------------------------------------------

--- The heat of a photograph and its mask.
local function scan_one(classifier, stem)
  local image = assert(tr.load_image(stem .. ".png", { channels = classifier.input[3] }))
  local mask = assert(tr.load_image(stem .. "_mask.png", { channels = 1 }))
  local start, cpu = tr.clock(), os.clock()
  local result = classifier:scan(image, options)
  return {
    heat = result.heat, mask = mask:ge(128):reshape(mask:size(1), mask:size(2)),
    seconds = tr.clock() - start, cpu = os.clock() - cpu,
    pixels = image:numel(), result = result, image = image, class = stem:match "([^/]*)_[^_]*$",
  }
end

--- A mask as it lies on the cells: moved so that cell 1, 1 begins at its first pixel.
local function on_cells(mask, result)
  local moved = tr.zeros(mask:size(1), mask:size(2), { dtype = "u8" })
  local function ends(axis)
    local by, size = -result.offset[axis], mask:size(axis)
    return math.max(1, 1 + by), math.min(size, size + by), math.max(1, 1 - by), math.min(size, size - by)
  end
  local top, bottom, first, last = ends(1)
  local left, right, from, to = ends(2)
  moved:slice(1, top, bottom):slice(2, left, right):copy_from(mask:slice(1, first, last):slice(2, from, to))
  return moved
end

local function row(name, list)
  local cells, maps, masks, moved, named = {}, {}, {}, {}, 0
  for i, one in ipairs(list) do
    cells[i], masks[i], moved[i], maps[i] = one.heat, one.mask, on_cells(one.mask, one.result), one.result:map()
    local best = one.result.scores:reshape(one.heat:numel(), one.result.scores:size(3))
      :index_select(1, one.heat:reshape(one.heat:numel()):argmax(1):reshape(1)):totable()[1]
    local label = 2
    for c = 2, #best do
      if best[c] > best[label] then label = c end
    end
    if one.classes[label] == one.class then named = named + 1 end
  end
  local few = tr.metrics.defect_recall(cells, moved, { false_alarms = 1 })
  local more = tr.metrics.defect_recall(cells, moved, { false_alarms = 3 })
  print(("| %s | %d | %.3f | %.3f | %d of %d | %d of %d | %d of %d |"):format(name, #list,
    tr.metrics.pixel_auroc(maps, masks), tr.metrics.aupro(maps, masks), few.found, few.count, more.found, more.count,
    named, #list))
  return few
end

local function overlay(one, folder)
  local picture = require("texres.scan.overlay")(one.image, one.result)
  assert(tr.write_png(("%s/%s.png"):format(folder, one.stem), picture))
end

local function sources(folder, ...)
  local all, by_class, order, seconds, cpu, pixels = {}, {}, {}, 0, 0, 0
  for _, argument in ipairs { ... } do
    local net, names = argument:match "^(.*):([^:]*)$"
    local classifier = assert(tr.load(net))
    for name in names:gmatch "[^,]+" do
      local one = scan_one(classifier, folder .. "/" .. name)
      one.classes, one.stem = classifier.classes, name
      seconds, cpu, pixels = seconds + one.seconds, cpu + one.cpu, pixels + one.pixels
      all[#all + 1] = one
      if not by_class[one.class] then by_class[one.class], order[#order + 1] = {}, one.class end
      table.insert(by_class[one.class], one)
    end
  end
  table.sort(order)
  print("| photographs | count | pixel AUROC | AUPRO | defects at 1 false alarm | at 3 | hottest cell has the class |")
  print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
  for _, class in ipairs(order) do row(class, by_class[class]) end
  local few = row("all", all)
  print(("step %d, mode %s, %.2f megapixels/s, %.2f per second of a core; threshold at 1 false alarm %.3f"):format(
    all[1].result.step, options.mode or "trunk", pixels / 1e6 / seconds, pixels / 1e6 / cpu, few.threshold))
  local pictures = os.getenv "OVERLAYS"
  for _, one in ipairs(pictures and all or {}) do overlay(one, pictures) end
end

-- -- a strip ----------------------------------------------------------------------------------------------------------

local PIECE = 128 -- rows at a time

local function strip(net, picture, rows, columns)
  rows, columns = math.tointeger(tonumber(rows or 8192)), math.tointeger(tonumber(columns or 4096))
  local classifier = assert(tr.load(net))
  local image = assert(tr.load_image(picture, { channels = classifier.input[3], size = { 1024, columns } }))
  options.threshold = 0.9
  local scanner, count, start, cpu = classifier:scanner(options), 0, tr.clock(), os.clock()
  for top = 0, rows - 1, PIECE do
    local at = top % 1024
    count = count + #scanner:push(image:slice(1, at + 1, at + math.min(PIECE, rows - top)))
  end
  count = count + #scanner:finish()
  local seconds, peak = tr.clock() - start, "unknown"
  for line in io.lines "/proc/self/status" do peak = line:match "^VmHWM:%s*(.*)" or peak end
  local megapixels = rows * columns / 1e6
  print(("%d x %d pixels, %d defects: %.1f s, %.2f megapixels/s, %.2f per second of a core, peak memory %s"):format(
    columns, rows, count, seconds, megapixels / seconds, megapixels / (os.clock() - cpu), peak))
end

local commands = { sources = sources, strip = strip }
local command = assert(commands[arg[1]], "sources or strip: see the top of the file")
command(table.unpack(arg, 2))
