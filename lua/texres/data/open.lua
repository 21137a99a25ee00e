--- data.open: a data set from a path, whatever its form.
--
--     X.npy         labels in Y.npy beside it (images.npy: labels.npy); columns in index.csv or another table beside it
--     set.npz       see data.npz
--     train64.h5    labels inside, or in train64.csv beside it
--     list.csv      paths and labels of pictures, or the table that belongs to list.h5 or list.npy beside it
--     folder        with one of these in it, or with a folder of pictures per class and, where there is one, index.csv
--                   with their paths, as set:save_folder writes it; or with one folder of pictures and a table of
--                   their paths and labels
-- @module texres.data

local core = require "texres.core"
local columns = require "texres.data.columns"
local formats = require "texres.data.formats"
local arrays = require "texres.data.arrays"
local names = require "texres.data.names"
local pictures = require "texres.data.pictures"
local files = require "texres.files"
local raise = require "texres.raise"

--- What was found, overruled by what the user said.
local function merge(found, options)
  for name, value in pairs(options) do
    if name ~= "pictures" then found[name] = value end
  end
  return found
end

--- The same for a reader of pictures.
local function merge_pictures(found, options) return merge(merge(found, options.pictures or {}), options) end

--- "a, b and c" for messages.
local function one_of(paths) return table.concat(paths, ", ", 1, #paths - 1) .. " or " .. paths[#paths] end

--- The table beside images that has a row per image: STEM.csv, index.csv, or the only one that fits; or nil, and a
-- message when that is not clear.
local function find_table(folder, stem, count, max_bytes)
  local own, index = folder .. stem .. ".csv", folder .. "index.csv"
  if files.exists(own) then return own end
  local fits = {}
  for _, name in ipairs(core.list_folder(folder == "" and "." or folder) or {}) do
    local t, message
    if formats.kind(name) == "csv" then t, message = columns.read(folder .. name, max_bytes) end
    local _, values = next(t and t.columns or {})
    local fit = values and #values == count
    if folder .. name == index then
      if fit then return index end
      require("texres").warn(("data.open: %s is left out: %s"):format(index, message
        or ("it has %d rows, there are %d images"):format(values and #values or 0, count)))
    elseif fit then
      fits[#fits + 1] = folder .. name
    end
  end
  if #fits > 1 then
    return nil, ("data.open: %s: each of %s has a row per image: name one with `meta`, or say meta = {}"):format(
      folder .. stem, one_of(fits))
  end
  return fits[1]
end

--- What stands in the name of a file of labels for what in that of the images.
local label_names = { { "X", "Y" }, { "x", "y" }, { "images", "labels" }, { "Images", "Labels" }, { "image", "label" } }

--- The file of labels that belongs to one of images: the same name with Y for X, labels for images, in any case; or
-- nil, and a message when there are several.
local function find_labels(folder, stem)
  local found, seen = {}, {}
  for _, pair in ipairs(label_names) do
    local from = 1
    while from do -- each place where the name of the images stands
      local first, last = stem:find(pair[1], from, true)
      local path = first and folder .. stem:sub(1, first - 1) .. pair[2] .. stem:sub(last + 1) .. ".npy"
      if path and not seen[path] and files.exists(path) then found[#found + 1] = path end
      if path then seen[path] = true end
      from = last and last + 1
    end
  end
  if #found < 2 then return found[1] end
  return nil, ("data.open: %s may have its labels in %s: name one with `labels`"):format(folder .. stem .. ".npy",
    one_of(found))
end

local function has_labels(folder, stem)
  local path, message = find_labels(folder, stem)
  return path ~= nil or message ~= nil
end

local HINT = " (meta = {} leaves the table out)"

--- What a reader returned, with what to do where the message is about a table that the user did not name.
local function hint(path, set, message)
  if set then return set end
  if path and message:find(path, 1, true) then message = message .. HINT end
  return nil, message
end

local function open_npy(path, options)
  local folder, stem = formats.parts(path)
  local source, message = core.npy_source(path, options.scale)
  if not source then return nil, message end
  local found = { images = path }
  if options.labels == nil then found.labels, message = find_labels(folder, stem) end
  if message then return nil, message end
  if options.meta == nil then found.meta, message = find_table(folder, stem, #source, options.max_bytes) end
  if message then return nil, message end
  return hint(found.meta, arrays.npy(merge(found, options)))
end

local function open_npz(path, options)
  return arrays.npz(merge({ file = path }, options))
end

local function open_hdf5(path, options)
  local folder, stem = formats.parts(path)
  local list = folder .. stem .. ".csv"
  local meta = options.meta == nil and files.exists(list) and list or nil
  return hint(meta, arrays.hdf5(merge({ file = path, meta = meta }, options)))
end

local function open_csv(path, options)
  local folder, stem = formats.parts(path)
  local beside = {}
  for _, kind in ipairs { "hdf5", "npy" } do
    for _, suffix in ipairs(formats.suffixes(kind)) do
      local images = folder .. stem .. "." .. suffix
      if files.exists(images) then beside[#beside + 1] = images end
    end
  end
  if #beside > 1 then
    return nil, ("data.open: %s may belong to %s: open that"):format(path, one_of(beside))
  end
  if not beside[1] then return pictures.csv(merge_pictures({ file = path }, options)) end
  if formats.kind(beside[1]) == "npy" then return arrays.npy(merge({ images = beside[1], labels = path }, options)) end
  return arrays.hdf5(merge({ file = beside[1], labels = path }, options))
end

--- The formats of files that hold a set: how one is opened by its path alone, and read with options that name its
-- parts.
local readers = {
  npy = { open = open_npy, read = arrays.npy },
  npz = { open = open_npz, read = arrays.npz },
  hdf5 = { open = open_hdf5, read = arrays.hdf5 },
  csv = { open = open_csv, read = pictures.csv },
}

--- Opens a folder of pictures, with its index.csv where that has a column of paths, as `set:save_folder` writes it.
local function open_pictures(path, options)
  local index = path .. "/index.csv"
  local found = { path = path }
  if options.meta == nil and files.exists(index) then
    local t, message = columns.read(index, options.max_bytes)
    if not t then return nil, message .. HINT end
    found.meta = columns.find_all(t.text, names.paths)[1] and index
  end
  return hint(found.meta, pictures.folder(merge_pictures(found, options)))
end

--- The tables among `paths` that list pictures with their labels.
local function find_lists(paths, max_bytes)
  local lists = {}
  for _, path in ipairs(paths) do
    local t = columns.read(path, max_bytes)
    local labelled = t and (columns.find_all(t.text, names.labels)[1] or columns.find_all(t.text, names.classes)[1])
    if labelled and columns.find_all(t.text, names.paths)[1] then lists[#lists + 1] = path end
  end
  return lists
end

--- Opens pictures in folders: by the table that lists them with their labels where one folder holds them all, else by
-- folder.
local function open_folders(path, folders, tables, options)
  local is_class, several, holder = {}, false, nil
  for _, class in ipairs(type(options.classes) == "table" and options.classes or {}) do is_class[class] = true end
  for _, name in ipairs(folders) do
    if not names.is_mask(name) and not names.is_rubbish(name) then several, holder = holder ~= nil, name end
  end
  local listed = holder and not several and not is_class[holder] and options.meta == nil
  local lists = listed and find_lists(tables, options.max_bytes) or {}
  if #lists > 1 then
    return nil, ("data.open: %s lists pictures in %s: open one of them"):format(path, table.concat(lists, ", "))
  end
  if lists[1] then return pictures.csv(merge_pictures({ file = lists[1] }, options)) end
  return open_pictures(path, options)
end

--- Opens the one file in a folder that holds a set, or the folder of pictures.
local function open_folder(path, options)
  local found, folders = core.list_folder(path)
  if not found then return nil, folders end
  path = path:gsub("(.)/+$", "%1")
  local sets, tables, bare = {}, {}, {}
  for _, name in ipairs(found) do
    local kind, full = formats.kind(name), path .. "/" .. name
    if kind == "csv" then
      tables[#tables + 1] = full
    elseif kind == "npy" and not has_labels(formats.parts(full)) then
      bare[#bare + 1] = full
    elseif readers[kind] then
      sets[#sets + 1] = full
    end
  end
  if #sets > 1 then
    return nil, ("data: %s holds several sets: open one of %s"):format(path, table.concat(sets, ", "))
  end
  if #sets == 0 and #folders == 0 and #bare == 1 and #tables > 0 then sets = bare end -- labels in a table
  if #sets == 0 and #folders == 0 and #tables == 1 then sets = tables end
  if #sets == 0 then return open_folders(path, folders, tables, options) end
  return readers[formats.kind(sets[1])].open(sets[1], options)
end

--- Opens a data set. `what` is a path, with options of the reader that fits it; or a table of options,
-- as for that reader. `pictures` = { size = 64, channels = 1 } are options for a path that turns out to be one of
-- pictures, which other readers don't have. `print(set:describe())` says what was found.
-- @return Set | nil, message
return function(what, options)
  if options ~= nil and type(options) ~= "table" then
    raise("data.open: options are a table, got %s", type(options))
  end
  if type(what) == "table" then
    if core.is_tensor(what.images) then return arrays.tensors(what) end
    if what.path then return pictures.folder(what) end
    local path = what.images or what.file
    local reader = readers[type(path) == "string" and formats.kind(path)]
    if not reader then raise "data.open: give images = or file = (.npy, .npz, .h5, .csv) or path = a folder" end
    return reader.read(what)
  end
  if type(what) ~= "string" then raise("data.open: a path or a table is expected, got %s", type(what)) end
  if core.file_kind(what) == "folder" then return open_folder(what, options or {}) end
  local file, reason = core.open_file(what)
  if not file then return nil, "data.open: " .. reason end
  file:close()
  local reader = readers[formats.kind(what)]
  if not reader then
    return nil, ("data.open: %s: not a set: .npy, .npz, .h5, .csv or a folder are"):format(what)
  end
  return reader.open(what, options or {})
end
