--- data.open: a data set from a path, whatever its form.
--
--     X.npy         labels in Y.npy beside it (images.npy: labels.npy); columns in index.csv or another table beside it
--     set.npz       see data.npz
--     train64.h5    labels inside, or in train64.csv beside it
--     list.csv      paths and labels of pictures, or the table that belongs to list.h5 or list.npy beside it
--     folder        with one of these in it, or with a folder of pictures per class
-- @module texres.data

local core = require "texres.core"
local columns = require "texres.data.columns"
local arrays = require "texres.data.arrays"
local pictures = require "texres.data.pictures"
local files = require "texres.files"
local raise = require "texres.raise"

--- "data/X.npy" -> "data/", "X", "npy".
local function parts_of(path)
  local folder, name = path:match "^(.*/)([^/]*)$"
  if not folder then folder, name = "", path end
  local stem, suffix = name:match "^(.+)%.([^.]+)$"
  return folder, stem or name, (suffix or ""):lower()
end

--- What was found, overruled by what the user said.
local function merge(found, options)
  for name, value in pairs(options) do found[name] = value end
  return found
end

--- The table beside `path` that has a row per image: STEM.csv, index.csv, or the only one that fits.
local function find_table(folder, stem, count)
  local names = core.list_folder(folder == "" and "." or folder) or {}
  local fits = {}
  for _, name in ipairs(names) do
    local _, table_stem, suffix = parts_of(name)
    local meta = suffix == "csv" and columns.read(folder .. name)
    local _, values = next(meta or {})
    if values and #values == count then
      if table_stem == stem then return folder .. name end
      fits[name] = true
      fits[#fits + 1] = folder .. name
    end
  end
  return fits["index.csv"] and folder .. "index.csv" or fits[1]
end

--- The file of labels that belongs to one of images: the same name with Y for X, labels for images, in any case.
local function find_labels(folder, stem)
  for from, to in pairs { X = "Y", x = "y", images = "labels", Images = "Labels", image = "label" } do
    local name = stem:gsub(from, to, 1)
    if name ~= stem and files.exists(folder .. name .. ".npy") then return folder .. name .. ".npy" end
  end
end

local open = {}

function open.npy(path, options)
  local folder, stem = parts_of(path)
  local source, message = core.npy_source(path, options.scale)
  if not source then return nil, message end
  return arrays.npy(merge({
    images = path, labels = find_labels(folder, stem), meta = find_table(folder, stem, #source),
  }, options))
end

function open.npz(path, options)
  return arrays.npz(merge({ file = path }, options))
end

function open.h5(path, options)
  local folder, stem = parts_of(path)
  local list = folder .. stem .. ".csv"
  return arrays.hdf5(merge({ file = path, labels = files.exists(list) and list or nil }, options))
end
open.hdf5 = open.h5

function open.csv(path, options)
  local folder, stem = parts_of(path)
  for _, suffix in ipairs { "h5", "hdf5", "npy" } do
    local images = folder .. stem .. "." .. suffix
    if files.exists(images) then
      local found = suffix == "npy" and { images = images } or { file = images }
      found.labels = path
      return (suffix == "npy" and arrays.npy or arrays.hdf5)(merge(found, options))
    end
  end
  return pictures.csv(merge({ file = path }, options))
end

--- Opens the one file in a folder that holds a set, or the folder of pictures.
local function open_folder(path, options)
  local names, folders = core.list_folder(path)
  if not names then return nil, folders end
  path = path:gsub("(.)/+$", "%1")
  local sets, tables = {}, {}
  for _, name in ipairs(names) do
    local _, stem, suffix = parts_of(name)
    local full = path .. "/" .. name
    if suffix == "csv" then
      tables[#tables + 1] = full
    elseif open[suffix] and (suffix ~= "npy" or find_labels(path .. "/", stem)) then
      sets[#sets + 1] = full
    end
  end
  if #sets > 1 then
    return nil, ("data: %s holds several sets: open one of %s"):format(path, table.concat(sets, ", "))
  end
  if #sets == 0 and #folders == 0 and #tables == 1 then sets = tables end
  if #sets == 0 then return pictures.folder(merge({ path = path }, options)) end
  local _, _, suffix = parts_of(sets[1])
  return open[suffix](sets[1], options)
end

--- Opens a data set. `what` is a path (see above), with options of the reader that fits it; or a table of options,
-- as for that reader. `print(set:describe())` says what was found.
-- @return Set | nil, message
return function(what, options)
  if type(what) == "table" then
    if core.is_tensor(what.images) then return arrays.tensors(what) end
    if what.path then return pictures.folder(what) end
    local path = what.images or what.file
    local _, _, suffix = parts_of(type(path) == "string" and path or "")
    local reader = { npy = arrays.npy, npz = arrays.npz, h5 = arrays.hdf5, hdf5 = arrays.hdf5, csv = pictures.csv }
    if not reader[suffix] then raise "data.open: give images = or file = (.npy, .npz, .h5, .csv) or path = a folder" end
    return reader[suffix](what)
  end
  if type(what) ~= "string" then raise("data.open: a path or a table is expected, got %s", type(what)) end
  local _, _, suffix = parts_of(what)
  if core.list_folder(what) then return open_folder(what, options or {}) end
  if not files.exists(what) then return nil, ("data.open: %s: there is no such file or folder"):format(what) end
  if not open[suffix] then
    return nil, ("data.open: %s: not a set: .npy, .npz, .h5, .csv or a folder are"):format(what)
  end
  return open[suffix](what, options or {})
end
