--- Readers of image files: a folder per class, or a CSV table of paths. Each returns a Set, or nil and a message.
-- @module texres.data

local core = require "texres.core"
local columns = require "texres.data.columns"
local make = require "texres.data.make"

local pictures = {}

local MEMORY_FOR_IMAGES = 2 ^ 31 -- bytes; larger sets are decoded whenever they are read, unless `cache = true`

local suffixes = { png = true, jpg = true, jpeg = true, bmp = true, tga = true, pgm = true, ppm = true }

local function is_picture(name) return suffixes[(name:match "%.([^.]+)$" or ""):lower()] or false end

--- Appends the pictures in a folder and the folders below it, in order of name, to `found`; or returns a message.
local function collect(folder, found, depth)
  if depth > 32 then return ("data: %s: folders are nested too deeply"):format(folder) end
  local names, folders = core.list_folder(folder)
  if not names then return folders end
  for _, name in ipairs(names) do
    if is_picture(name) then found[#found + 1] = folder .. "/" .. name end
  end
  for _, name in ipairs(folders) do
    local message = collect(folder .. "/" .. name, found, depth + 1)
    if message then return message end
  end
end

--- A source of image files, decoded into memory when that is wanted or small enough.
local function open_pictures(paths, options)
  local source, message = core.image_source(paths, { channels = options.channels, size = options.size })
  if not source then return nil, message end
  local bytes = #paths * source.height * source.width * source.channels * (source.dtype == "u8" and 1 or 4)
  local in_memory = options.cache
  if in_memory == nil then in_memory = bytes <= MEMORY_FOR_IMAGES end
  if not in_memory then return source end
  return source:cache()
end

--- Folders that stand for parts of a set, not for classes.
local part_names = { train = true, training = true, val = true, valid = true, validation = true, test = true }

local function are_parts(folders)
  for _, name in ipairs(folders) do
    if not part_names[name:lower()] then return false end
  end
  return #folders > 0
end

--- Appends the pictures of root/CLASS/**: their paths, class names and, where root is a part of a set, its name.
local function collect_classes(root, folders, found, part)
  for _, class in ipairs(folders) do
    local before = #found.paths
    local message = collect(root .. "/" .. class, found.paths, 1)
    if message then return message end
    for i = before + 1, #found.paths do found.names[i], found.parts[i] = class, part end
  end
end

--- Pictures in one folder per class: `folder { path = "textile" }` reads textile/CLASS/**.png (jpg, jpeg, bmp, tga,
-- pgm, ppm). Names that start with a dot are skipped. A level above, folders named train, val, test become the
-- column `split`. `size` = n or {height, width} resizes all (without it they must be equally large), `channels` = 1
-- or 3 makes them gray or RGB, `cache` = false decodes them whenever they are read, true keeps them in memory
-- however many they are; `classes` gives the order of the classes. The column `path` holds the paths.
function pictures.folder(options)
  make.check_options(options, "folder", "path classes meta groups channels size cache")
  local root = make.check_path(options, "folder", "path")
  local names, folders = core.list_folder(root)
  if not names then return nil, folders end
  local found, message = { paths = {}, names = {}, parts = {} }
  for _, part in ipairs(are_parts(folders) and folders or { false }) do
    local below, classes = root, folders
    if part then
      below = root .. "/" .. part
      names, classes = core.list_folder(below)
      if not names then return nil, classes end
    end
    message = collect_classes(below, classes, found, part)
    if message then return nil, message end
  end
  if #found.paths == 0 then return nil, ("data: %s: no pictures in folders below it, one per class"):format(root) end
  local source
  source, message = open_pictures(found.paths, options)
  if not source then return nil, message end
  local known = { path = found.paths, split = are_parts(folders) and found.parts or nil }
  return make.set(source, found.names, options, root, known)
end

local path_columns = { "path", "file", "filename", "file_name", "image", "image_path", "filepath" }

--- Pictures and labels that a CSV file lists: `csv { file = "list.csv" }`. `paths` and `labels` name the columns
-- where they aren't called path (file, filename, image) and label; paths are relative to `root`, by default the
-- folder of the CSV file. `size`, `channels`, `cache` as in folder.
function pictures.csv(options)
  make.check_options(options, "csv", "file paths labels classes root groups channels size cache")
  local file = make.check_path(options, "csv", "file")
  local meta, message = columns.read(file)
  if not meta then return nil, message end
  local name = options.paths or columns.find(meta, path_columns)
  if not name or not meta[name] then
    return nil, ("data: %s: there is no column '%s' with paths"):format(file, options.paths or path_columns[1])
  end
  local root, paths = options.root or file:match "^(.*)/[^/]*$" or ".", {}
  for i, path in ipairs(meta[name]) do
    path = tostring(path)
    paths[i] = path:sub(1, 1) == "/" and path or root .. "/" .. path
  end
  local source
  source, message = open_pictures(paths, options)
  if not source then return nil, message end
  local labels = options.labels
  if type(labels) == "string" and meta[labels] then labels = file .. ":" .. labels end
  return make.set(source, labels, { classes = options.classes, groups = options.groups, meta = meta }, file)
end

return pictures
