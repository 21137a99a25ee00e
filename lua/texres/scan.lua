--- Whole images and endless strips through a classifier of patches: where is what.
--
--     local result = clf:scan(image, { step = 16, mm_per_pixel = 0.1 })
--     for _, defect in ipairs(result.defects) do print(defect) end      --> hole 0.97, 96 x 64 mm at 1.220 m, ...
--
--     local scanner = clf:scanner { mm_per_pixel = 0.1 }
--     for rows in camera do                                              -- {n,W,C} or {n,W}, of any n
--       for _, defect in ipairs(scanner:push(rows)) do print(defect) end -- as soon as it has ended
--     end
--     local last, roll = scanner:finish()
--
-- The trunk of the network runs once over a band, and its head slides over the map (texres.scan.split). That is what
-- patches give that are cut out with a margin, to 1e-5 of a probability; of a network in 8 bits, whose tiles lie
-- elsewhere then, to 0.02. Patches as predict is given them have padding around them instead, which reaches as far into
-- a patch as the trunk sees: mode = "patches" cuts those. They are not the same to a network: of six that were trained
-- on real patches, 1 - p(good) of a window was 0.09 to 0.15 apart in the mean, up to 0.7, and the likeliest class
-- another one in 12 to 47 of 100 windows. Neither is the better for that (bench/README.md). Take the trunk, and a
-- threshold that was chosen in the same mode; take patches where the answers must be those of predict, or the network
-- can't be split.
-- At the border of an image and at the sides of a strip padding stands in both. Cells are squares of `step` pixels that
-- have the mean of the windows which cover them, and defects are cells above `threshold` that touch.
--
-- A cell (r, c), counted from 0, begins at row r * step + offset[1] and column c * step + offset[2] of the image: what
-- a place of the map sees has its middle where kernels, strides and paddings put it, in most networks half a stride
-- above and left of the pixels that it stands for. A patch by itself has the offset 0. Boxes and result:map() heed it.
-- @module texres.scan

local classes = require "texres.classes"
local core = require "texres.core"
local input = require "texres.input"
local option = require "texres.options"
local pass = require "texres.scan.pass"
local plain = require "texres.plain"
local points = require "texres.scan.points"
local raise = require "texres.raise"
local resample = require "texres.explain.resample"
local split = require "texres.scan.split"
local strict = require "texres.strict"
local threshold = require "texres.scan.threshold"
local windows = require "texres.scan.windows"

local scan = {}

--- What scanner takes, for who hands such options on.
scan.KNOWN = {
  step = option.COUNT, -- pixels from one window to the next: divides the side of a patch; nil: about a quarter of it
  mode = option.choice(nil, { "trunk", "patches" }), -- nil: trunk, where the network can be split
  margin = option.integer(0, "[0, inf)"), -- of patches: pixels around each that the trunk sees, too
  threshold = option.number(nil, "(0, 1]"), -- 1 - p(good) of a hot cell; nil: of the operating point, else 0.5
  good = option.text(), -- the class that is no defect; nil: of the operating point, else "good"
  white = option.number(nil, "(0, inf)"), -- what white is in the pixels; nil: 255 in bytes, 1 in floats
  mm_per_pixel = option.number(nil, "(0, inf)"), -- nil: neither millimetres nor points
  holes = option.any { "hole" }, -- classes that are graded as holes, a list of names
  unknown = option.number(nil, "(0, inf)"), -- novelty from which a cell is unknown; nil: of patches as fitted
  least = option.integer(1, "[1, inf)"), -- cells that make a defect
  longest = option.integer(16384, "[1, inf)"), -- rows of pixels after which a defect is told, in pieces
  band = option.integer(256, "[1, inf)"), -- rows of pixels that are scanned at once, about
}

-- -- the setting ------------------------------------------------------------------------------------------------------

--- The parts of each model, or nil and why one of them has none.
local function split_all(models)
  local list = {}
  for i, model in ipairs(models) do
    local parts, why = split(model, input.of(model).input)
    if not parts then return nil, why end
    list[i] = parts
  end
  return list
end

--- Whether the parts can do steps of so many pixels.
local function steps_fit(parts, step)
  for _, one in ipairs(parts) do
    if step % one.stride ~= 0 then return false end
  end
  return true
end

--- The steps that are possible: whole parts of the side which the trunks can do.
local function possible_steps(side, parts)
  local list = {}
  for step = 1, math.min(side[1], side[2]) do
    if side[1] % step == 0 and side[2] % step == 0 and (not parts or steps_fit(parts, step)) then
      list[#list + 1] = step
    end
  end
  return list
end

--- The step that was asked for, or the largest that is at most a quarter of the side.
local function choose_step(wanted, side, parts)
  local list = possible_steps(side, parts)
  local chosen = list[1]
  for _, step in ipairs(list) do
    if step == wanted then return step end
    if step <= math.min(side[1], side[2]) // 4 then chosen = step end
  end
  if wanted then
    raise("scan: step is %d: %s are possible with patches of %dx%d%s", wanted, table.concat(list, ", "), side[1],
      side[2], parts and "; others with mode = \"patches\" where they divide the side" or "")
  end
  return chosen
end

--- What windows are of and how they are scored: side, step, mode, and make_runners, a function that gives the models'
-- runners (texres.scan.windows).
local function way_of(classifier, o)
  local side = input.of(classifier.model).input
  if not side then raise "scan: the model does not say what size its images have" end
  local parts, why
  if o.mode ~= "patches" or o.margin > 0 then parts, why = split_all(classifier.models) end
  if not parts and (o.mode == "trunk" or o.margin > 0) then raise("scan: mode = \"patches\" is needed: %s", why) end
  local mode = o.mode or (parts and "trunk" or "patches")
  local step = choose_step(o.step, side, mode == "trunk" and parts or nil)
  local function make_runners()
    local list = {}
    for i, model in ipairs(classifier.models) do
      local own = parts and parts[i]
      list[i] = mode == "trunk" and windows.trunk(model, own, step, classifier.novelty)
        or windows.patches(model, own, step, o.margin, classifier.novelty)
    end
    return list
  end
  return { side = side, step = step, mode = mode, why = why, make_runners = make_runners }
end

local function check_margin(o, parts)
  for _, one in ipairs(parts or {}) do
    if o.margin % one.stride ~= 0 then raise("scan: margin is %d, no multiple of %d", o.margin, one.stride) end
  end
end

--- The set of the classes that are graded as holes.
local function holes_of(names)
  if not option.is_list(names, function(name) return type(name) == "string" end) then
    raise("scan: holes is %s, wanted a list of names of classes", option.shown(names))
  end
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

-- -- what is told -----------------------------------------------------------------------------------------------------

-- A defect:
--
--     class, label, score, peak      the class with the highest sum of probabilities beside good; mean and largest heat
--     top, left, height, width       its box in pixels: so many rows and columns of the image lie before it, of a strip
--                                    so many rows of the roll
--     cells, area                    how many, and their pixels in the image
--     position, across               with mm_per_pixel, in mm: where the box begins on the roll and from its left side
--     length, breadth, area_mm2      its size along the roll and across, in mm
--     points                         see texres.scan.points
--     novelty                        after fit_novelty: how far its cells are from what was trained on, in the mean
--     unknown                        true where no cell is hot, but they are farther than they may be: its class is
--                                    "unknown", it has neither label nor peak, and no points
--     continues, continued           true where it goes on in another one, or goes on with one
--     name                           of its image
local Defect = strict.class("a defect", {}, {
  "position", "across", "length", "breadth", "area_mm2", "points", "continues", "continued", "name",
  "novelty", "unknown", "label", "peak",
})

function Defect:__tostring()
  local place = plain.format("%d x %d pixels at row %d, column %d", self.width, self.height, self.top, self.left)
  if self.position then
    place = plain.format("%.0f x %.0f mm at %.3f m, %.0f mm across", self.breadth, self.length, self.position / 1000,
      self.across)
    if self.points then place = place .. plain.format(", %d point%s", self.points, self.points == 1 and "" or "s") end
  end
  if self.unknown then return plain.format("unknown (novelty %.3g), %s", self.novelty, place) end
  return plain.format("%s %.2f (peak %.2f), %s", plain.visible_name(self.class), self.score, self.peak, place)
end

local Result = strict.class("a result of scanning", {}, {
  "name", "position", "scores", "heat", "unknown", "novelty", "step", "offset", "threshold",
  "area_m2", "points", "points_per_100m2",
})

--- The heat of each pixel of an image, f32 {H,W}: between the middles of cells it is interpolated.
function Result:map()
  local function axis(i) return { first = self.offset[i] + (self.step - 1) / 2, step = self.step } end
  return resample.map(self.heat, self.height, self.width, axis(1), axis(2))
end

function Result:__tostring()
  local lines = { plain.format("%d x %d pixels, %d defect%s", self.width, self.height, self.count,
    self.count == 1 and "" or "s") }
  if self.unknown then lines[1] = lines[1] .. plain.format(", %d unknown", self.unknown) end
  if self.area_m2 then
    lines[1] = lines[1] .. plain.format(", %.3f m2, %d points, %.1f points per 100 m2", self.area_m2, self.points,
      self.points_per_100m2)
  end
  for i, defect in ipairs(self.defects) do
    lines[i + 1] = "  " .. tostring(defect)
    if i == 20 and #self.defects > i then
      lines[i + 2] = ("  ... and %d more"):format(#self.defects - i)
      break
    end
  end
  return table.concat(lines, "\n")
end

-- -- the scanner ------------------------------------------------------------------------------------------------------

local Scanner = strict.class("a scanner", {}, { "mm_per_pixel", "why", "pass" })

--- A scanner by a classifier (classifier:scanner). Options: see texres.scan; they are
--
--     step          pixels from one window to the next: divides the side of a patch; default: a quarter of it
--     mode          "trunk", or "patches", the reference; default: trunk, where the network can be split
--     margin        (0) of patches: pixels around each that the trunk sees, too
--     threshold     1 - p(good) from which a cell is hot; default: that of the operating point, else 0.5. Both are of
--                   single patches: on photographs of a million pixels they gave 18 false alarms each. Choose one for
--                   scans: classifier:scan_threshold
--     good          the class that is no defect; default: that of the operating point, else "good"
--     white         what white is in the pixels; default: 255 in bytes, 1 in floats
--     mm_per_pixel  for millimetres and points
--     holes         ({"hole"}) classes that are graded as holes
--     unknown       after fit_novelty: the novelty from which cells that are not hot are unknown; default: of patches
--                   that which it chose; of the trunk none is, as windows with cloth around them lie farther: on
--                   real good cloth nearly all lay beyond it: classifier:scan_threshold chooses one. A cell has the
--                   mean of its windows
--     least         (1) cells that make a defect
--     longest       (16384) rows of pixels after which one that goes on is told, in pieces
--     band          (256) rows of pixels that are scanned at once, about
function scan.scanner(classifier, options)
  local o = option.read("scan", options, scan.KNOWN)
  local point = classifier.operating_point
  local good = o.good or point and point.good or classes.GOOD
  local number = classes.find(classifier.classes, good)
  if not number then
    raise("scan: there is no class '%s' among %s: name that which is no defect, good = ...", good,
      table.concat(classifier.classes or { "none" }, ", "))
  end
  if o.unknown and not classifier.novelty then
    raise("scan: unknown is %g, but what the network has never seen is not known: fit_novelty, texres novelty, first",
      o.unknown)
  end
  local way = way_of(classifier, o)
  if o.margin > 0 then check_margin(o, split_all(classifier.models)) end
  return setmetatable({
    classifier = classifier, mode = way.mode, step = way.step, why = way.why, mm_per_pixel = o.mm_per_pixel,
    holes = holes_of(o.holes), least = o.least, white = o.white or false, sum = points.sum(),
    rows = 0, area = 0, count = 0, -- of all that was scanned: rows, pixels, defects
    at = 0, -- the row of the roll at which the next rows begin: some may be missing before it
    unknown = classifier.novelty and 0, -- defects of that kind, beside `count`
    setting = {
      side = way.side, step = way.step, band = math.max(1, o.band // way.step), good = number, longest = o.longest,
      threshold = o.threshold or point and point.threshold or 0.5, classes = #classifier.classes,
      unknown = classifier.novelty and (o.unknown or way.mode == "patches" and o.margin == 0
        and classifier.novelty.threshold or math.huge), make_runners = way.make_runners,
    },
  }, Scanner)
end

--- Rows of pixels as {n,W,C}; raises for what is none.
local function as_rows(self, rows, what)
  local tensor, channels = option.check("scan", what, rows, option.TENSOR), self.classifier.input[3]
  if tensor:dim() == 2 then tensor = tensor:unsqueeze(3) end
  if tensor:dim() ~= 3 or tensor:size(3) ~= channels or tensor:numel() == 0 then
    raise("scan: %s is {%s}, wanted {H,W,%d}%s", what, table.concat(rows:shape(), ","), channels,
      channels == 1 and " or {H,W}" or "")
  end
  return tensor
end

local function white_of(self, rows) return self.white or (rows.dtype == "u8" and 255 or 1) end

--- Gives a defect its class, and what follows from millimetres; `from`: the row of the roll at which its pass began.
local function complete(self, defect, from, name)
  local label, names, sums = nil, self.classifier.classes, defect.sums
  for c = 1, #names do
    if c ~= self.setting.good and (not label or sums[c] > sums[label]) then label = c end
  end
  defect.class, defect.label, defect.sums, defect.name = names[label], label, nil, name
  defect.novelty = self.unknown and sums[#names + 1] / defect.cells or nil
  if defect.unknown then
    defect.class, defect.label, defect.peak = "unknown", nil, nil
    defect.score = 1 - sums[self.setting.good] / defect.cells
  end
  local mm = self.mm_per_pixel
  if mm then
    defect.length, defect.breadth, defect.area_mm2 = defect.height * mm, defect.width * mm, defect.area * mm * mm
    defect.position, defect.across = (from + defect.top) * mm, defect.left * mm
  end
  if mm and not defect.unknown then
    defect.points = points.of(math.max(defect.length, defect.breadth), self.holes[defect.class])
    self.sum:add(defect.position, defect.position + defect.length, defect.points)
  end
  return setmetatable(defect, Defect)
end

--- The defects of a pass that are large enough, completed.
local function complete_all(self, list, from, name)
  local told = {}
  for _, defect in ipairs(list) do
    if defect.cells >= self.least then told[#told + 1] = complete(self, defect, from, name) end
  end
  local unknown = 0
  for _, defect in ipairs(told) do unknown = unknown + (defect.unknown and 1 or 0) end
  self.count, self.unknown = self.count + #told - unknown, self.unknown and self.unknown + unknown
  return told, unknown
end

--- Those of the pass over a strip, with their rows on the roll.
local function complete_on_roll(self, list)
  for _, defect in ipairs(list) do defect.top = self.from + defect.top end
  return complete_all(self, list, 0)
end

--- What belongs to an area of so many pixels with such points.
local function graded(self, result, area, sum)
  local mm = self.mm_per_pixel
  if mm then
    result.area_m2, result.points = area * mm * mm / 1e6, sum
    result.points_per_100m2 = result.area_m2 > 0 and sum * 100 / result.area_m2 or 0
  end
  return setmetatable(result, Result)
end

--- Counts rows that were scanned, which begin at a row of the roll.
local function count_rows(self, height, width, from)
  self.rows, self.area, self.at = self.rows + height, self.area + height * width, from + height
end

--- The next rows of a strip, {n,W,C} or {n,W}: the list of the defects that have ended with them, from the top of the
-- roll on. The first rows say how wide it is.
function Scanner:push(rows)
  local pixels = as_rows(self, rows, "rows")
  local strip = rawget(self, "pass")
  if not strip then
    strip = pass.new(self.setting, pixels:size(2), white_of(self, pixels), false)
    self.pass, self.from = strip, self.at
  elseif strip.strip.own_width ~= pixels:size(2) then
    raise("scan: these rows have %d pixels, those before %d", pixels:size(2), strip.strip.own_width)
  end
  local told = complete_on_roll(self, strip:push(pixels))
  count_rows(self, pixels:size(1), pixels:size(2), self.at)
  if self.mm_per_pixel then self.sum:settle((self.from + strip:open_from()) * self.mm_per_pixel) end
  return told
end

--- Ends a strip: the list of the defects that were still open, and what summary gives.
function Scanner:finish()
  local told, strip = {}, rawget(self, "pass")
  if strip then
    told = complete_on_roll(self, (strip:finish()))
    self.pass = nil
  end
  return told, self:summary()
end

--- What was scanned up to now, strips and images together: { height = rows, width = of them in the mean, count = of
-- defects, and, with mm_per_pixel, area_m2, points, points_per_100m2 }, where a metre of the roll has at most 4 points.
function Scanner:summary()
  return graded(self, { height = self.rows, width = self.rows > 0 and self.area // self.rows or 0, count = self.count,
    unknown = self.unknown or nil, defects = {} }, self.area, self.sum:all())
end

--- One image by itself: { defects = a list from the top, count =, height =, width =, scores = f32 {R,C,K} of the cells,
-- heat = f32 {R,C}, 1 - p(good) of them, step = and offset = {rows, columns}, which say where they lie, threshold =,
-- name =, position =; with mm_per_pixel area_m2, points and points_per_100m2 }. result:map() is the heat of each pixel.
-- Options: name, which its defects have, too; position: the row of the roll at which it begins (default: below those
-- before). Images come in the order of the roll: one that begins before the last is of another roll, for its points.
function Scanner:frame(image, options)
  local o = option.read("frame", options, { name = option.any(), position = option.number(nil, "[0, inf)") })
  local pixels = as_rows(self, image, "the image")
  local height, width, from = pixels:size(1), pixels:size(2), o.position or self.at
  local one = pass.new(self.setting, width, white_of(self, pixels), true)
  local list = one:push(pixels)
  local rest, scores = one:finish()
  table.move(rest, 1, #rest, #list + 1, list)
  table.sort(list, function(a, b) return a.top < b.top or a.top == b.top and a.left < b.left end)
  if self.mm_per_pixel then self.sum:settle(from * self.mm_per_pixel) end
  local told, unknown = complete_all(self, list, from, o.name)
  local own, novelty, classes_of = points.sum(), nil, #self.classifier.classes
  if self.unknown then novelty, scores = scores:select(3, classes_of + 1), scores:slice(3, 1, classes_of) end
  for _, defect in ipairs(told) do
    if defect.points then own:add(defect.position, defect.position + defect.length, defect.points) end
  end
  count_rows(self, height, width, from)
  return graded(self, {
    name = o.name, position = from, height = height, width = width, defects = told, count = #told - unknown,
    scores = scores, unknown = self.unknown and unknown or nil, novelty = novelty,
    heat = 1 - scores:select(3, self.setting.good), step = self.step, offset = one.offset,
    threshold = self.setting.threshold,
  }, height * width, own:all())
end

-- -- at once ----------------------------------------------------------------------------------------------------------

--- Scans an image {H,W,C} or {H,W}, a picture's file, or a strip that comes in pieces from a function, which gives nil
-- after the last. What Scanner:frame gives, of a strip without scores and heat; nil and a message for a file that can't
-- be read.
function scan.scan(classifier, image, options)
  local scanner = scan.scanner(classifier, options)
  if type(image) == "string" then
    local pixels, message = core.load_image(image, { channels = classifier.input[3] })
    if not pixels then return nil, message end
    return scanner:frame(pixels, { name = image })
  elseif type(image) ~= "function" then
    return scanner:frame(image)
  end
  local all = {}
  for rows in image do
    local told = scanner:push(rows)
    table.move(told, 1, #told, #all + 1, all)
  end
  local told, result = scanner:finish()
  result.defects = table.move(told, 1, #told, #all + 1, all)
  return result
end

--- Chooses the threshold of scans on images of good cloth, a list of tensors and pictures' files. Options: those of a
-- scanner, which are to be given to it, too, and false_alarms (1): how many of them an image may have, in the mean.
-- Gives { threshold =, unknown = (after fit_novelty), false_alarms = of an image, images = how many }, which print()
-- shows; nil and a message where a file can't be read, or no threshold serves.
function scan.scan_threshold(classifier, images, options)
  local given = option.given("scan_threshold", options)
  local wanted = option.read("scan_threshold", { false_alarms = given.false_alarms },
    { false_alarms = threshold.FALSE_ALARMS })
  if not option.is_list(images, function(one) return type(one) == "string" or core.is_tensor(one) end) then
    raise("scan_threshold: images are %s, wanted a list of images and paths", option.shown(images))
  end
  local settings, results = option.without(given, "false_alarms"), {}
  for i, image in ipairs(images) do
    local result, message = scan.scan(classifier, image, settings)
    if not result then return nil, message end
    results[i] = { heat = result.heat, novelty = result.novelty }
  end
  return threshold.choose(results, wanted.false_alarms, settings.least)
end

return scan
