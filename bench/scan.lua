-- How well and how fast a trained network scans photographs with masks, and what a long strip takes.
--
--     lua bench/scan.lua sources FOLDER NET:NAME,NAME... ...     photographs NAME.png, CLASS_NNN, with NAME_mask.png,
--                                                                each by the network that was not trained on it, but
--                                                                on all others: on those its threshold is chosen
--     lua bench/scan.lua agree FOLDER NET:NAME,NAME... ...       how far apart the trunk and patches by themselves,
--                                                                with padding around them, are in windows side by side
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

--- How many defects a list of scans has at a threshold: a table as metrics.defect_recall gives it.
local function at(list, o)
  local cells, moved = {}, {}
  for i, one in ipairs(list) do cells[i], moved[i] = one.heat, on_cells(one.mask, one.result) end
  return tr.metrics.defect_recall(cells, moved, o)
end

local function share(r) return ("%d of %d"):format(r.found, r.count) end

local function row(name, list)
  local maps, masks, named = {}, {}, 0
  for i, one in ipairs(list) do
    maps[i], masks[i] = one.result:map(), one.mask
    local best = one.result.scores:reshape(one.heat:numel(), one.result.scores:size(3))
      :index_select(1, one.heat:reshape(one.heat:numel()):argmax(1):reshape(1)):totable()[1]
    local label = 2
    for c = 2, #best do
      if best[c] > best[label] then label = c end
    end
    if one.classes[label] == one.class then named = named + 1 end
  end
  local few = at(list, { false_alarms = 1 })
  local more = at(list, { false_alarms = 3 })
  print(("| %s | %d | %.3f | %.3f | %s | %s | %d of %d |"):format(name, #list,
    tr.metrics.pixel_auroc(maps, masks), tr.metrics.aupro(maps, masks), share(few), share(more), named,
    #list))
  return few
end

local function overlay(one, folder)
  local picture = require("texres.scan.overlay")(one.image, one.result)
  assert(tr.write_png(("%s/%s.png"):format(folder, one.stem), picture))
end

-- -- places -----------------------------------------------------------------------------------------------------------

local FARTHEST = 12 -- pixels

--- How many pixels heat lies below (axis 1) or right (2) of the masks: where its log odds in them are highest.
local function displacement(list, axis)
  local best, most
  for by = -FARTHEST, FARTHEST do
    local sum = 0
    for _, one in ipairs(list) do
      local size = one.mask:size(axis)
      one.odds = one.odds or (function(p) return (p / (1 - p)):log() end)(one.result:map():clamp(1e-4, 0.9999))
      local odds = one.odds:slice(axis, 1 + FARTHEST + by, size - FARTHEST + by)
      local mask = one.mask:slice(axis, 1 + FARTHEST, size - FARTHEST):to "f32"
      sum = sum + ((odds * mask):sum() / mask:sum() - odds:mean()):item() / odds:std():item()
    end
    if not most or sum > most then best, most = by, sum end
  end
  return best
end

local function places(networks)
  print "\n| network | heat too low, pixels | too far right |"
  print "| --- | ---: | ---: |"
  for _, net in ipairs(networks) do
    print(("| %s | %d | %d |"):format(net.name, displacement(net.held, 1), displacement(net.held, 2)))
  end
end

-- -- thresholds -------------------------------------------------------------------------------------------------------

--- For each network the threshold of a budget, chosen on photographs that it was trained on, and what it does to those
-- that it was not.
local function thresholds(networks)
  print "\n| network | budget | threshold | trained on: found | false alarms | held out: found | false alarms |"
  print "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
  for _, budget in ipairs { 0.2, 1, 3 } do
    for _, net in ipairs(networks) do
      local own = at(net.trained, { false_alarms = budget })
      local new = at(net.held, { threshold = own.threshold })
      print(("| %s | %g | %.4f | %s | %.1f | %s | %.1f |"):format(net.name, budget, own.threshold, share(own),
        own.false_alarms, share(new), new.false_alarms))
    end
  end
  for _, threshold in ipairs { 0.5, 0.9, 0.99 } do
    local all = {}
    for _, net in ipairs(networks) do table.move(net.held, 1, #net.held, #all + 1, all) end
    local r = at(all, { threshold = threshold })
    print(("| all | | %g | | | %s | %.1f |"):format(threshold, share(r), r.false_alarms))
  end
end

--- What the command line names: a list of { name =, classifier =, names = of the photographs it was not trained on }.
local function networks_of(arguments)
  local list = {}
  for i, argument in ipairs(arguments) do
    local net, names = argument:match "^(.*):([^:]*)$"
    list[i] = { name = net:match "([^/]*)%.%w+$" or net, classifier = assert(tr.load(net)), names = {} }
    for name in names:gmatch "[^,]+" do table.insert(list[i].names, name) end
  end
  return list
end

local function scan_all(net, names, folder)
  local list = {}
  for i, name in ipairs(names) do
    list[i] = scan_one(net.classifier, folder .. "/" .. name)
    list[i].classes, list[i].stem = net.classifier.classes, name
  end
  return list
end

local function sources(folder, ...)
  local all, by_class, order, seconds, cpu, pixels = {}, {}, {}, 0, 0, 0
  local networks = networks_of { ... }
  for _, net in ipairs(networks) do
    net.held, net.trained = scan_all(net, net.names, folder), {}
    for _, one in ipairs(net.held) do
      seconds, cpu, pixels = seconds + one.seconds, cpu + one.cpu, pixels + one.pixels
      all[#all + 1] = one
      if not by_class[one.class] then by_class[one.class], order[#order + 1] = {}, one.class end
      table.insert(by_class[one.class], one)
    end
    for _, other in ipairs(networks) do
      local seen = other ~= net and scan_all(net, other.names, folder) or {}
      table.move(seen, 1, #seen, #net.trained + 1, net.trained)
    end
  end
  table.sort(order)
  print("| photographs | count | pixel AUROC | AUPRO | defects at 1 false alarm | at 3 | hottest cell has the class |")
  print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
  for _, class in ipairs(order) do row(class, by_class[class]) end
  local few = row("all", all)
  print(("step %d, mode %s, %.2f megapixels/s, %.2f per second of a core; threshold at 1 false alarm %.3f"):format(
    all[1].result.step, options.mode or "trunk", pixels / 1e6 / seconds, pixels / 1e6 / cpu, few.threshold))
  places(networks)
  if #networks > 1 then thresholds(networks) end
  local pictures = os.getenv "OVERLAYS"
  for _, one in ipairs(pictures and all or {}) do overlay(one, pictures) end
end

-- -- the trunk and patches --------------------------------------------------------------------------------------------

--- What is counted of windows.
local function tally(where) return { where = where, count = 0, sum = 0, largest = 0, class = 0, side = 0 } end

local function likeliest(scores)
  local best = 1
  for c, score in ipairs(scores) do best = score > scores[best] and c or best end
  return best
end

--- Adds a window by its probabilities of both ways; `good`: the class whose heat is compared.
local function count_window(into, trunk, patch, good)
  local apart = math.abs(trunk[good] - patch[good])
  into.count, into.sum, into.largest = into.count + 1, into.sum + apart, math.max(into.largest, apart)
  if likeliest(trunk) ~= likeliest(patch) then into.class = into.class + 1 end
  if (trunk[good] > 0.5) ~= (patch[good] > 0.5) then into.side = into.side + 1 end
end

local function agree(folder, ...)
  print "| network | windows | | heat apart, mean | largest | another class | another side of 0.5 |"
  print "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
  for _, net in ipairs(networks_of { ... }) do
    local inside, border, good = tally "inside", tally "border", nil
    for c, name in ipairs(net.classifier.classes) do good = name == "good" and c or good end
    for _, name in ipairs(net.names) do
      local image = assert(tr.load_image(folder .. "/" .. name .. ".png", { channels = net.classifier.input[3] }))
      local step = net.classifier.input[1] -- each cell is one window
      local trunk = net.classifier:scan(image, { step = step, mode = "trunk" }).scores:totable()
      local patches = net.classifier:scan(image, { step = step, mode = "patches" }).scores:totable()
      for y, line in ipairs(trunk) do
        for x, scores in ipairs(line) do
          local outermost = y == 1 or x == 1 or y == #trunk or x == #line
          count_window(outermost and border or inside, scores, patches[y][x], good)
        end
      end
    end
    for _, t in ipairs { inside, border } do
      print(("| %s | %s | %d | %.3f | %.3f | %.1f %% | %.1f %% |"):format(net.name, t.where, t.count, t.sum / t.count,
        t.largest, 100 * t.class / t.count, 100 * t.side / t.count))
    end
  end
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
    local first = top % 1024
    count = count + #scanner:push(image:slice(1, first + 1, first + math.min(PIECE, rows - top)))
  end
  count = count + #scanner:finish()
  local seconds, peak = tr.clock() - start, "unknown"
  for line in io.lines "/proc/self/status" do peak = line:match "^VmHWM:%s*(.*)" or peak end
  local megapixels = rows * columns / 1e6
  print(("%d x %d pixels, %d defects: %.1f s, %.2f megapixels/s, %.2f per second of a core, peak memory %s"):format(
    columns, rows, count, seconds, megapixels / seconds, megapixels / (os.clock() - cpu), peak))
end

local commands = { sources = sources, agree = agree, strip = strip }
local command = assert(commands[arg[1]], "sources, agree or strip: see the top of the file")
command(table.unpack(arg, 2))
