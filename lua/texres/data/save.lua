--- Writing a set in the forms that the readers read: a table of its samples, a folder of pictures. (`set:save_npy`
-- writes the arrays.)
-- @module texres.data.save

local core = require "texres.core"
local files = require "texres.files"
local plain = require "texres.plain"
local Set = require "texres.data.set"

--- A value as a cell of a CSV file; NaN and false, which stand for "none", as an empty one.
local function cell(value)
  if value == false or value ~= value then return "" end
  local text = math.type(value) == "float" and plain.format("%.10g", value) or tostring(value)
  if text:find '[",\r\n]' then text = '"' .. text:gsub('"', '""') .. '"' end
  return text
end

local function column_names(set, first)
  local names, taken = first, {}
  for _, name in ipairs(first) do taken[name] = true end
  local others = {}
  for name in pairs(set.meta) do
    if not taken[name] then others[#others + 1] = name end
  end
  plain.sort(others)
  return table.move(others, 1, #others, #names + 1, names)
end

--- A row per sample; `own` gives the values of the columns that aren't metadata.
local function write_table(set, path, names, own)
  local lines = { table.concat(names, ",") }
  for i = 1, #set do
    local cells, values = {}, own(i)
    for c, name in ipairs(names) do
      local value = values[name]
      if value == nil then value = set.meta[name][i] end
      cells[c] = cell(value)
    end
    lines[i + 1] = table.concat(cells, ",")
  end
  return files.write(path, table.concat(lines, "\n") .. "\n")
end

--- Writes a CSV file with a row per sample, in the columns of the published set: index (from 0), indication_type (the
-- class), indication_value (the label, from 0), then the metadata. Stands beside X.npy or train64.h5.
-- @tparam string path file to write
-- @return true, or nil and a message
function Set:save_csv(path)
  return write_table(self, path, column_names(self, { "index", "indication_type", "indication_value" }), function(i)
    local label = self.label[i]
    return { index = i - 1, indication_type = self.classes[label], indication_value = label - 1 }
  end)
end

--- Why an image cannot be kept as a picture that is read back as it was, or nil.
local function unfit(image)
  local channels, low, high = image:size(3), image:min():item(), image:max():item()
  if channels ~= 1 and channels ~= 3 then
    return ("it has %d channels, pictures 1 or 3: save_npy keeps them"):format(channels)
  end
  if low ~= low or high ~= high then return "a pixel is NaN" end
  if low < -1e-6 or high > 1 + 1e-6 then
    return ("its pixels lie within %.4g..%.4g, pictures hold 0..1: save_npy keeps them"):format(low, high)
  end
end

--- Writes every image as folder/CLASS/NUMBER.png, 8 bits, and folder/index.csv with the columns path (from the folder
-- on), label (the class's name) and the metadata.
-- @tparam string folder is made where it is missing
-- @return true, or nil and a message
function Set:save_folder(folder)
  local paths, digits = {}, #tostring(#self)
  for _, class in ipairs(self.classes) do
    local made, message = core.process.make_folder(folder .. "/" .. class)
    if not made then return nil, message end
  end
  for i = 1, #self do
    paths[i] = ("%s/%0" .. digits .. "d.png"):format(self.classes[self.label[i]], i)
    local image, message = self:get(i)
    if not image then return nil, message end
    local reason = unfit(image)
    if reason then return nil, ("save_folder: sample %d: %s"):format(i, reason) end
    local written
    written, message = core.write_png(folder .. "/" .. paths[i], image)
    if not written then return nil, message end
    image:free()
  end
  return write_table(self, folder .. "/index.csv", column_names(self, { "path", "label" }), function(i)
    return { path = paths[i], label = self.classes[self.label[i]] }
  end)
end
