--- Writing a set in the forms that the readers read: a table of its samples, a folder of arrays or of pictures.
-- (`set:save_npy` writes the arrays themselves.)
-- @module texres.data.save

local core = require "texres.core"
local option = require "texres.options"
local plain = require "texres.plain"
local files = require "texres.files"
local cells = require "texres.data.cells"
local columns = require "texres.data.columns"
local lists = require "texres.data.lists"
local names = require "texres.data.names"
local Set = require "texres.data.set"

local function say_left_out(name, reason)
  require("texres").warn(("save: column '%s' is left out: %s; give it another name"):format(name, reason))
end

--- Names of columns: those in `first`, then the metadata. Columns that a reader would take for labels are left out,
-- which is said where they say something else: the set was relabelled, or they mean another thing. So is one that a
-- reader can't tell from a column in `first`: Path beside path.
local function column_names(set, first)
  local taken, others = {}, {}
  for _, name in ipairs(first) do taken[name] = name end
  for name, values in pairs(set.meta) do
    local own = taken[names.bare(name)]
    if names.is_label(name) then
      if columns.disagreement(values, set.label) then
        say_left_out(name, "it differs from the labels, and readers would take it for them")
      end
    elseif not own then
      others[#others + 1] = name
    elseif own ~= name then
      say_left_out(name, ("it can't be told from '%s'"):format(own))
    end
  end
  plain.sort(others)
  return table.move(others, 1, #others, #first + 1, first)
end

--- Whether a column holds texts that would all be read as numbers.
local function needs_marks(values, count)
  local any = false
  for i = 1, count do
    if type(values[i]) == "string" and values[i] ~= "" then
      if not cells.is_number(values[i]) then return false end
      any = true
    end
  end
  return any
end

--- A column as it is written: where it holds true, false is a value beside it, not "none"; and 1 and 1.0, which are
-- the same number, are spelt as the first of them.
local function spell(values, count)
  local spelt, first, any = {}, {}, false
  for i = 1, count do any = any or values[i] == true end
  for i = 1, count do
    local value = values[i]
    if any and type(value) == "boolean" then
      value = tostring(value)
    elseif math.type(value) and value == value then
      first[value] = first[value] or value
      if math.type(first[value]) ~= math.type(value) then value = first[value] end
    end
    spelt[i] = value
  end
  return spelt
end

--- A row per sample: `own`, columns of the same names as the first of `titles`, then the metadata.
local function write_table(set, path, titles, own)
  local values, marks, heads, lines = {}, {}, {}, {}
  for c, title in ipairs(titles) do
    values[c] = spell(own[title] or set.meta[title], #set)
    marks[c], heads[c] = needs_marks(values[c], #set), cells.write(title)
  end
  lines[1] = table.concat(heads, ",")
  for i = 1, #set do
    local row = {}
    for c, list in ipairs(values) do row[c] = cells.write(list[i], marks[c]) end
    lines[i + 1] = table.concat(row, ",")
  end
  return files.write(path, table.concat(lines, "\n") .. "\n")
end

--- Writes a CSV file with a row per sample, in the columns of the published set: index (from 0), indication_type (the
-- class), indication_value (the label, from 0), then the metadata. Stands beside X.npy or train64.h5.
-- @tparam string path file to write
-- @return true, or nil and a message: names of classes that a table can't hold (nan; two that differ in blanks alone)
function Set:save_csv(path)
  option.check("save_csv", "the path", path, option.PATH)
  local unreadable = columns.check(self.classes, "class", { where = path })
  if unreadable then return nil, unreadable end
  local index, values = {}, {}
  for i, label in ipairs(self.label) do index[i], values[i] = i - 1, label - 1 end
  return write_table(self, path, column_names(self, { "index", "indication_type", "indication_value" }),
    { index = index, indication_type = lists.pick(self.classes, self.label), indication_value = values })
end

--- Writes the set as arrays that data.open(folder) reads: X.npy {N,H,W,C}, Y.npy {N} with labels from 0, index.csv as
-- save_csv has it, and masks.npy where there are masks.
-- @tparam string folder is made where it is missing
-- @return true, or nil and a message
function Set:save_arrays(folder)
  option.check("save_arrays", "the folder", folder, option.PATH)
  local made, message = core.process.make_folder(folder)
  if not made then return nil, message end
  made, message = self:save_npy(folder .. "/X.npy", folder .. "/Y.npy", self.masks and folder .. "/masks.npy")
  if not made then return nil, message end
  return self:save_csv(folder .. "/index.csv")
end

--- Why an image cannot be kept as a picture that is read back as it was, or nil.
local function unfit(image)
  local channels, low, high = image:size(3), image:min():item(), image:max():item()
  if channels ~= 1 and channels ~= 3 then
    return ("it has %d channels, pictures 1 or 3: save_npy keeps them"):format(channels)
  end
  if low ~= low or high ~= high then return "a pixel is NaN" end
  if low < -1e-6 or high > 1 + 1e-6 then
    return plain.format("its pixels lie within %.4g..%.4g, pictures hold 0..1: save_npy keeps them", low, high)
  end
end

--- Writes image `i` of a source as a PNG; true, or nil and a message.
local function write_picture(source, at, path, i)
  local image, message = source:read(at)
  if not image then return nil, message end
  local reason = unfit(image)
  if reason then return nil, ("save_folder: sample %d: %s"):format(i, reason) end
  local written
  written, message = core.write_png(path, image)
  image:free()
  return written, message
end

--- A file in one of the folders below root/`below` that is none of those known: it would be read with the set, as a
-- picture or as a mask. Or nil.
local function find_other(root, below, known)
  local inside, folders = core.list_folder(root .. "/" .. below)
  for _, file in ipairs(below ~= "" and inside or {}) do
    if not known[below .. file] then return below .. file end
  end
  for _, name in ipairs(inside and folders or {}) do
    local other = find_other(root, below .. name .. "/", known)
    if other then return other end
  end
end

--- Writes every image as folder/CLASS/NUMBER.png, 8 bits, and folder/index.csv with the columns path (from the folder
-- on), label (the class's name) and the metadata; masks as folder/masks/CLASS/NUMBER.png. A class whose name can't be a
-- folder's, or that would be taken for a part of a set, has a folder with %XX for what can't stand there (n/a: n%2Fa);
-- readers know it.
-- @tparam string folder is made where it is missing; must not hold pictures that aren't of this set
-- @return true, or nil and a message
function Set:save_folder(folder)
  option.check("save_folder", "the folder", folder, option.PATH)
  local paths, known, digits = {}, {}, #tostring(#self)
  for i, label in ipairs(self.label) do
    paths[i] = ("%s/%0" .. digits .. "d.png"):format(names.folder_of(self.classes[label]), i)
    known[paths[i]], known["masks/" .. paths[i]] = true, self.masks ~= nil
  end
  local other = find_other(folder, "", known)
  if other then return nil, ("save_folder: %s/%s is there already and not of this set"):format(folder, other) end
  for _, class in ipairs(self.classes) do
    for _, below in ipairs { "/", self.masks and "/masks/" or nil } do
      local made, message = core.process.make_folder(folder .. below .. names.folder_of(class))
      if not made then return nil, message end
    end
  end
  for i, at in ipairs(self.index) do
    local written, message = write_picture(self.source, at, folder .. "/" .. paths[i], i)
    if written and self.masks then
      written, message = write_picture(self.masks, at, folder .. "/masks/" .. paths[i], i)
    end
    if not written then return nil, message end
  end
  return write_table(self, folder .. "/index.csv", column_names(self, { "path", "label" }),
    { path = paths, label = lists.pick(self.classes, self.label) })
end
