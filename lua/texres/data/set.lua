--- A data set: images in some order, a label for each, and what else is known about them.
--
--     local set = assert(texres.data.open "textile")      -- or data.npy{...}, data.fabric{...}
--     print(set)                                          --> 6000 images 64x64x1 u8, 6 classes
--     local image, label, row = set:get(1)                -- f32 {64,64,1} in 0..1, 1..6, { angle = 100, source = ... }
--     local train, test = set:split { 0.8, 0.2, group = "source", seed = 1 }
--
-- A set copies no pixel: it is a source of images and lists. What makes a new set (subset, filter, split, ...)
-- shares the source. Fields, to be read only:
--
--     source    where the pixels come from (csrc/data/source.h)
--     index     list: the position in the source of each sample, from 1
--     label     list: the label of each sample, from 1; classes[label] is its name
--     classes   list of names
--     meta      columns: meta.angle[i] belongs to sample i
--     group     the column that says which samples belong together (one photograph, one roll), or nil
--     origin    what the set was opened from, for people
--     masks     source of masks, in step with `source`, or nil
--     skipped   list of { path =, message = }: pictures that could not be read when the set was opened (bad = "skip")
-- @module texres.data.set

local cells = require "texres.data.cells"
local classes = require "texres.classes"
local core = require "texres.core"
local lists = require "texres.data.lists"
local plain = require "texres.plain"
local option = require "texres.options"
local ranges = require "texres.data.ranges"
local raise = require "texres.raise"
local strict = require "texres.strict"

local Set = strict.class("a set", {}, { "group", "masks", "origin" })

-- -- making sets ----------------------------------------------------------------------------------------------------

local whole = option.WHOLE.accept -- an integer, also as a float: 4 / 2; else nil
local CLASSES = option.kind("a list of names", "table")
local NAME = option.kind("a name", function(value) return type(value) == "string" and value ~= "" end)
local LABELS = option.kind("a list or a tensor", "table")

--- A list of integers from a list or a tensor {n}.
local function as_list(values)
  if core.is_tensor(values) then return values:totable() end
  return values
end

--- The labels as integers; raises for one that is none of 1..#names.
local function check_labels(label, names)
  local integers = {}
  for i, value in ipairs(label) do
    integers[i] = whole(value)
    if not integers[i] or integers[i] < 1 or integers[i] > #names then
      raise("Set: label %s of sample %d: classes are 1..%d", option.shown(value), i, #names)
    end
  end
  return integers
end

--- Classes are known by their names: texts, each of its own.
local function check_classes(names)
  option.check("Set", "classes", names, CLASSES)
  local number = {}
  for c, name in ipairs(names) do
    option.check("Set", "class " .. c, name, NAME)
    if number[name] then raise("Set: classes %d and %d are both named '%s'", number[name], c, name) end
    number[name] = c
  end
end

--- A set from its parts.
-- @tparam table fields source, labels (list or tensor i64 {n}, from 1), classes; and, where there are such, index
-- (positions in the source, default all), meta (columns), group, origin, masks, skipped
function Set.new(fields)
  local index = as_list(fields.index) or lists.count_up(#fields.source)
  local label = option.check("Set", "labels", as_list(fields.labels), LABELS)
  if #label ~= #index then raise("Set: %d labels for %d images", #label, #index) end
  check_classes(fields.classes)
  label = check_labels(label, fields.classes)
  for name, column in pairs(fields.meta or {}) do
    if #column ~= #index then raise("Set: column '%s' has %d values for %d images", name, #column, #index) end
  end
  if fields.group and not (fields.meta and fields.meta[fields.group]) then
    raise("Set: there is no column '%s' to group by", fields.group)
  end
  if fields.masks and #fields.masks ~= #fields.source then
    raise("Set: %d masks for %d images", #fields.masks, #fields.source)
  end
  return setmetatable({
    source = fields.source, index = index, label = label, classes = fields.classes, meta = fields.meta or {},
    group = fields.group, origin = fields.origin, masks = fields.masks, skipped = fields.skipped or {},
  }, Set)
end

--- A set that differs from this one in the fields given; whatever a set holds goes along.
local function derive(self, changed)
  local fields = {
    source = self.source, index = self.index, labels = self.label, classes = self.classes, meta = self.meta,
    group = self.group, origin = self.origin, masks = self.masks, skipped = self.skipped,
  }
  for name, value in pairs(changed) do fields[name] = value end
  return Set.new(fields)
end

--- The samples at `positions` of this set (a list or tensor, from 1; a position may come twice), in that order.
function Set:subset(positions)
  local at, meta, list = {}, {}, option.check("subset", "positions", as_list(positions), option.LIST)
  option.list("subset", "the samples", list)
  for i = 1, #list do
    at[i] = whole(list[i])
    if not at[i] or at[i] < 1 or at[i] > #self.index then
      raise("subset: sample %s: the set has 1..%d", option.shown(list[i]), #self.index)
    end
  end
  for name, column in pairs(self.meta) do meta[name] = lists.pick(column, at) end
  return derive(self, { index = lists.pick(self.index, at), labels = lists.pick(self.label, at), meta = meta })
end

--- This set without the samples at `positions` (a list, from 1).
function Set:without(positions)
  local out, kept = lists.set_of(option.check("without", "positions", positions, option.LIST)), {}
  for i = 1, #self do
    if not out[i] then kept[#kept + 1] = i end
  end
  return self:subset(kept)
end

--- All samples in another order, a function of `seed` (an integer, 0). Training shuffles by itself: loader{shuffle=}.
function Set:shuffle(seed)
  return self:subset(core.shuffled(#self, option.check("shuffle", "seed", seed or 0, option.WHOLE), 0))
end

--- The samples for which `wanted(label, row, i)` is true; row is the sample's metadata.
function Set:filter(wanted)
  option.check("filter", "the function", wanted, option.FUNCTION)
  local positions = {}
  for i = 1, #self do
    if wanted(self.label[i], self:row(i), i) then positions[#positions + 1] = i end
  end
  return self:subset(positions)
end

--- Puts image i of n that a function has made into `all`, which the first one makes; returns it.
local function put(all, image, i, n, what)
  option.check("map", "the new " .. what, image, option.TENSOR)
  if image:dim() == 2 then image = image:unsqueeze(3) end
  local shape = image:shape()
  all = all or core.zeros({ n, table.unpack(shape) }, { dtype = image.dtype })
  local first = all:shape()
  local same = #shape == 3 and image.dtype == all.dtype
  for d = 1, 3 do same = same and shape[d] == first[d + 1] end
  if not same then
    raise("map: the %s of sample %d is %s {%s}, that of sample 1 %s {%s}", what, i, image.dtype,
      table.concat(shape, ","), all.dtype, table.concat(first, ",", 2))
  end
  all[i]:copy_from(image)
  return all
end

--- This set with other images: `change(image, label, row, mask)` returns a tensor {H,W} or {H,W,C}, all of one size and
-- type; it may return another label after it, and, of a set with masks, another mask {H,W} or {H,W,C}: it must where
-- the size changes. The new images are computed now and held in memory.
function Set:map(change)
  option.check("map", "the function", change, option.FUNCTION)
  local n, labels, images, masks = #self, {}
  for i = 1, n do
    local image, label, row = self:get(i)
    if not image then return nil, label end
    local mask, message
    if self.masks then
      mask, message = self.masks:read(self.index[i])
      if not mask then return nil, message end
    end
    local changed, other, moved = change(image, label, row, mask)
    images, labels[i] = put(images, changed, i, n, "image"), other or label
    if mask and not moved and (images:size(2) ~= mask:size(1) or images:size(3) ~= mask:size(2)) then
      raise("map: the images are %dx%d now, their masks %dx%d: return the mask too, after the label", images:size(2),
        images:size(3), mask:size(1), mask:size(2))
    end
    masks = mask and put(masks, moved or mask, i, n, "mask")
  end
  if n == 0 then return self:subset {} end
  local source, message = core.source(images)
  if not source then return nil, "map: " .. message end
  ranges.note_change(source, self.source)
  return derive(self, {
    source = source, index = lists.count_up(n), labels = labels, masks = masks and core.source(masks, 1),
  })
end

--- This set with other labels, a list of numbers from 1, of other classes, a list of names.
function Set:with_labels(labels, names) return derive(self, { labels = labels, classes = names }) end

--- Whether a column holds text; whether it holds numbers.
local function kinds_of(column)
  local text, numbers = false, false
  for _, value in ipairs(column) do
    text, numbers = text or type(value) == "string", numbers or type(value) == "number"
  end
  return text, numbers
end

--- The columns of sets that are joined: what is a number in one and text in another, as columns of two files may differ
-- in type (12.1 and 12.2 in one, 12.1 and 12.10 in the other), is text in all, so that 12.1 stays one roll. What is the
-- same number, 1 and 1.0, is spelt as the first of them.
local function join_columns(sets)
  local joined, has_text, spelt, count = {}, {}, {}, 0
  for _, set in ipairs(sets) do
    for name, column in pairs(set.meta) do
      joined[name], spelt[name], has_text[name] = {}, {}, has_text[name] or (kinds_of(column))
    end
  end
  for _, set in ipairs(sets) do
    for name, all in pairs(joined) do
      local column = set.meta[name]
      local text, numbers = kinds_of(column or {})
      local print = has_text[name] and numbers and not text
      for i = 1, #set do
        local value = column and column[i] or false
        if print and type(value) == "number" then
          local cell = spelt[name][value] or cells.print(value)
          if value == value then spelt[name][value] = cell end
          value = cell
        end
        all[count + i] = value
      end
    end
    count = count + #set
  end
  return joined
end

local IS_SET = option.kind("a set", function(value) return getmetatable(value) == Set end)

--- The samples of this set, then those of the others, which have images of the same size and no class that this set
-- does not have; they may list them in another order. Columns that a set lacks are filled with false; one that holds
-- numbers in a set and text in another becomes text. The first set that has groups says which column tells them. Either
-- all sets have masks or none (`set.masks = nil` lets them go).
function Set:concat(...)
  local sets, sources, masks, skipped, group = table.pack(self, ...), {}, {}, {}, nil
  for s = 1, sets.n do
    option.check("concat", "set " .. s, sets[s], IS_SET)
    local set, message = classes.arrange(sets[s], self.classes)
    if not set then raise("concat: set %d: %s", s, message) end
    sets[s] = set
    if (set.masks ~= nil) ~= (self.masks ~= nil) then
      raise("concat: set %d has %s, set 1 %s; set.masks = nil lets masks go", s, set.masks and "masks" or "no masks",
        self.masks and "has some" or "has none")
    end
    sources[s], masks[s], group = set.source, set.masks, group or set.group
    table.move(set.skipped, 1, #set.skipped, #skipped + 1, skipped)
  end
  local index, labels, before = {}, {}, 0
  for s, set in ipairs(sets) do
    for i = 1, #set do
      index[#index + 1], labels[#labels + 1] = before + set.index[i], set.label[i]
    end
    before = before + #sources[s]
  end
  local source, message = ranges.join(sources, "set")
  if not source then raise("concat: %s", message) end
  return derive(self, {
    source = source, index = index, labels = labels, meta = join_columns(sets), group = group,
    masks = masks[1] and core.concat_sources(masks), skipped = skipped,
  })
end

--- Raises where a class is to be renamed that there is not.
local function check_renamed(names, known)
  local is_class = lists.set_of(known)
  for name in pairs(names) do
    if not is_class[name] and name ~= "*" then
      raise("relabel: there is no class '%s'; the set has %s", name, table.concat(known, ", "))
    end
  end
end

local NAMES = option.kind("a table or a function", function(value)
  return type(value) == "table" or type(value) == "function"
end)

--- This set with its classes renamed or joined, e.g. `set:relabel { good = "good", ["*"] = "defect" }`.
-- @param names old name -> new name, "*" for all that are not named; or a function of old name and row to the new
-- name
function Set:relabel(names)
  option.check("relabel", "names", names, NAMES)
  local function rename(name, row)
    if type(names) == "function" then
      return option.check("relabel", ("the new name of '%s'"):format(name), names(name, row), option.text())
    end
    return names[name] or names["*"] or name
  end
  local renamed, number, labels = {}, {}, {}
  local function number_of(name)
    if not number[name] then
      renamed[#renamed + 1] = name
      number[name] = #renamed
    end
    return number[name]
  end
  if type(names) ~= "function" then
    check_renamed(names, self.classes)
    for _, name in ipairs(self.classes) do number_of(rename(name)) end -- in the order of the old ones
  end
  for i = 1, #self do labels[i] = number_of(rename(self.classes[self.label[i]], self:row(i))) end
  return derive(self, { labels = labels, classes = renamed })
end

--- This set with its images in memory, decoded once: as u8 where the source is u8, else f32. Where a packed file
-- (HDF5) would become more than 1 GiB and more than 16 times its size this is refused, unless `max_bytes`, here or when
-- it was opened, says how much it may become. Given here, it holds for every set.
-- @tparam[opt] table options max_bytes
-- @return Set | nil, message
function Set:cache(options)
  local limit = option.read("cache", options, { max_bytes = option.COUNT })
  local source, message = self.source:cache(self.index, limit)
  if not source then return nil, message end
  ranges.note_copy(source, self.source)
  local masks
  if self.masks then
    masks, message = self.masks:cache(self.index, limit)
    if not masks then return nil, message end
  end
  return derive(self, { source = source, index = lists.count_up(#self), masks = masks })
end

-- -- looking at samples ---------------------------------------------------------------------------------------------

function Set:__len() return #self.index end

--- The position of sample i, which may count from the end.
local function position_of(set, i, where)
  local n, at = #set, whole(i)
  if at and at < 0 then at = n + 1 + at end
  if not at or at < 1 or at > n then raise("%s: sample %s: the set has 1..%d", where, i, n) end
  return at
end

--- The metadata of sample i (from 1, negative from the end): a table with one value per column.
function Set:row(i)
  local row, at = {}, position_of(self, i, "row")
  for name, column in pairs(self.meta) do row[name] = column[at] end
  return row
end

--- Sample i (from 1, negative from the end): image f32 {H,W,C}, 0..1 where pixels are integers in the file; its
-- label, its metadata; or nil and a message when the image can't be decoded.
function Set:get(i)
  local at = position_of(self, i, "get")
  local image, message = self.source:read(self.index[at])
  if not image then return nil, message end
  return image, self.label[at], self:row(at)
end

--- A batch f32 {n,H,W,C}: of all samples, of samples first..last, or of a list of samples.
function Set:images(first, last)
  local positions = self.index
  if type(first) == "number" then
    last = last or first
    if not whole(first) or not whole(last) or first < 1 or last > #self then
      raise("images: samples %s..%s: the set has 1..%d", first, last, #self)
    end
    positions = table.move(self.index, whole(first), whole(last), 1, {})
  elseif first then
    positions = self:subset(first).index
  end
  return self.source:images(positions)
end

--- The labels as a tensor i64 {n}, from 1.
function Set:labels()
  return core.tensor(self.label, { dtype = "i64" })
end

--- How many samples each class has: list in the order of `classes`.
function Set:counts()
  local counts = lists.filled(#self.classes, 0)
  for _, label in ipairs(self.label) do counts[label] = counts[label] + 1 end
  return counts
end

--- The pixels of each channel: { mean =, std =, min =, max = }, lists of a number per channel. Mean and std are to be
-- taken of the training part only, and kept with the model. nil and a message when an image can't be read, or has a
-- pixel that is NaN or infinite.
-- @tparam[opt] function share of several processes that read the set together, see texres.trainer.shards
-- @treturn table
function Set:statistics(share)
  if #self == 0 then raise "statistics: the set is empty" end
  if not share then return self.source:statistics(self.index) end
  local blocks = (#self + core.MOMENTS_BLOCK - 1) // core.MOMENTS_BLOCK
  local moments, message = share("mean and deviation", blocks, function(first, last)
    return self.source:moments(self.index, first, last)
  end)
  if not moments then return nil, message end
  return core.joined_moments(moments, self.source.channels)
end

--- The share of each image that its mask covers, 0 to 1: a list. Raises where the set has no masks, or one of them
-- can't be read.
function Set:covers()
  if not self.masks then raise "covers: the set has no masks" end
  local list = {}
  for i, at in ipairs(self.index) do
    local mask, message = self.masks:read(at)
    if not mask then raise("covers: %s", message) end
    list[i] = mask:ne(0):to("f64"):mean():item()
  end
  return list
end

-- -- for people -----------------------------------------------------------------------------------------------------

function Set:__tostring()
  local s = self.source
  return ("%d images %dx%dx%d %s, %d classes%s"):format(#self, s.height, s.width, s.channels, s.dtype, #self.classes,
    #self.skipped > 0 and (", %d skipped"):format(#self.skipped) or "")
end

--- Shows sample i (from 1, negative from the end) in the terminal, with its class and columns: see texres.show.
-- @tparam integer i
-- @tparam[opt] table options columns: how wide at most (default: the terminal); file (standard output)
-- @return nothing, or nil and a message where the image can't be read
function Set:show(i, options) return require "texres.show".sample(self, i, options) end

--- What the set holds, as text: where it comes from, count, size, classes with their counts, columns, mean, std.
function Set:describe()
  local lines = { tostring(self) }
  if self.origin then lines[#lines + 1] = "  from     " .. plain.visible_name(self.origin) end
  local counts, columns = self:counts(), plain.names(self.meta)
  for c, name in ipairs(self.classes) do
    lines[#lines + 1] = ("  %-8s %d %-20s %6d"):format(c == 1 and "classes" or "", c,
      plain.visible_name(name), counts[c])
  end
  if #columns > 0 then lines[#lines + 1] = "  columns  " .. plain.visible_name(table.concat(columns, ", ")) end
  if self.group then lines[#lines + 1] = "  group    " .. plain.visible_name(self.group) end
  for i, bad in ipairs(self.skipped) do
    lines[#lines + 1] = ("  %-8s %s"):format(i == 1 and "skipped" or "", plain.visible_name(bad.message))
  end
  if #self > 0 then
    local statistics, message = self:statistics()
    lines[#lines + 1] = "  mean     " .. (statistics and plain.numbers(statistics.mean, " ") or message)
    if statistics then lines[#lines + 1] = "  std      " .. plain.numbers(statistics.std, " ") end
  end
  return table.concat(lines, "\n")
end

-- -- files ----------------------------------------------------------------------------------------------------------

--- Writes images {n,H,W,C} (u8 where pixels are 0..255 divided by 255, else f32: what a reader takes for the same
-- pixels), labels i64 {n} (from 0, as in every such file) and masks {n,H,W,1} as .npy, each where a path is given;
-- true, or nil and a message.
function Set:save_npy(images_path, labels_path, masks_path)
  option.check("save_npy", "the path of the images", images_path, option.PATH)
  for name, path in pairs { labels = labels_path, masks = masks_path } do
    option.check("save_npy", "the path of the " .. name, path, option.PATH)
  end
  if masks_path and not self.masks then raise "save_npy: the set has no masks" end
  local ok, message = self.source:save_npy(self.index, images_path)
  if ok and labels_path then
    local from_zero = {}
    for i, label in ipairs(self.label) do from_zero[i] = label - 1 end
    ok, message = core.save_npy(labels_path, core.tensor(from_zero, { dtype = "i64" }))
  end
  if ok and masks_path then return self.masks:save_npy(self.index, masks_path) end
  return ok, message
end

return Set
