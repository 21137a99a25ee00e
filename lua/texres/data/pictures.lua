--- Readers of image files: a folder per class, or a CSV table of paths. Each returns a Set, or nil and a message.
-- @module texres.data

local core = require "texres.core"
local plain = require "texres.plain"
local exists = require("texres.files").exists
local columns = require "texres.data.columns"
local make = require "texres.data.make"
local names = require "texres.data.names"

local pictures = {}

local MEMORY_FOR_IMAGES = 2 ^ 31 -- bytes; larger sets are decoded whenever they are read, unless `cache = true`

--- The masks of pictures: root/masks/PATH for each root/PATH, where there is one for every picture; else nil.
local function mask_paths(root, paths)
  local masks = {}
  for i, path in ipairs(paths) do
    masks[i] = root .. "/masks" .. path:sub(#root + 1)
    if path:sub(1, #root + 1) ~= root .. "/" or not exists(masks[i]) then return nil end
  end
  return masks
end

--- A set of image files, decoded into memory when that is wanted or small enough. `make_set(source, masks)` makes it of
-- sources of all pictures and, where there are such, masks; those that bad = "skip" passes over are then left out.
local function open_pictures(paths, masked_by, options, make_set)
  local source, bad = core.image_source(paths, {
    channels = options.channels, size = options.size, max_pixels = options.max_pixels, bad = options.bad,
  })
  if not source then return nil, bad end
  local masks, set, message
  if masked_by then
    masks, message = core.image_source(masked_by, {
      channels = 1, size = options.size, max_pixels = options.max_pixels,
    })
    if not masks then return nil, message end
  end
  set, message = make_set(source, masks)
  if not set then return nil, message end
  set = make.leave_out(set, paths, bad)
  local bytes = #set * source.height * source.width * source.channels * (source.dtype == "u8" and 1 or 4)
  local in_memory = options.cache
  if in_memory == nil then in_memory = bytes <= MEMORY_FOR_IMAGES end
  if not in_memory then return set end
  return set:cache()
end

-- -- a folder per class -----------------------------------------------------------------------------------------------
--
-- What was found: paths and, in step with them, names of classes and parts; classes: all folders that stand for one;
-- wanted: the classes that the user named; and for people, passed: how many files of each kind were passed over.

local suffixes = { png = true, jpg = true, jpeg = true, bmp = true, tga = true, pgm = true, ppm = true }
local READABLE = "png, jpg, jpeg, bmp, tga, pgm, ppm are read"

--- Pictures that other programs read.
local foreign = {}
for suffix in ("tif tiff webp gif heic heif avif jp2 jxl exr psd svg dng raw"):gmatch "%w+" do
  foreign[suffix] = true
end

local function suffix_of(name) return (name:match "%.([^.]+)$" or ""):lower() end

local function is_picture(name) return suffixes[suffix_of(name)] or false end

local function pass_over(found, kind) found.passed[kind] = (found.passed[kind] or 0) + 1 end

--- The stem of the picture that `name` is the mask of: "hole_001" of hole_001_mask.png.
local function masked(name) return name:match "^(.+)[_-][mM][aA][sS][kK]%.[^.]+$" end

--- Appends the pictures in a folder and the folders below it, in order of name, to found.paths; or returns a message.
local function collect(folder, found, depth)
  if depth > 32 then return ("data: %s: folders are nested too deeply"):format(folder) end
  local files, folders = core.list_folder(folder)
  if not files then return folders end
  local stems = {}
  for _, name in ipairs(files) do
    if is_picture(name) then stems[name:match "^(.*)%."] = true end
  end
  for _, name in ipairs(files) do
    if not is_picture(name) then
      pass_over(found, suffix_of(name))
    elseif stems[masked(name)] then
      pass_over(found, "mask")
    else
      found.paths[#found.paths + 1] = folder .. "/" .. name
    end
  end
  for _, name in ipairs(folders) do
    if names.is_mask(name) then
      pass_over(found, "mask")
    elseif not names.is_rubbish(name) then
      local message = collect(folder .. "/" .. name, found, depth + 1)
      if message then return message end
    end
  end
end

--- Appends the pictures of root/FOLDER/**, all of one class; or returns a message. A part that is not that of all the
-- root may stand below the class: good/train.
local function collect_class(root, folder, found, part)
  local class, before = names.class_of(folder), #found.paths
  local message = collect(root .. "/" .. folder, found, 1)
  if message then return message end
  for i = before + 1, #found.paths do
    local below = found.paths[i]:sub(#root + #folder + 3):match "^([^/]*)/"
    found.names[i] = class
    found.parts[i] = part or below and names.is_part(below) and below or false
    found.direct = found.direct or not below
  end
  local count = #found.paths - before
  if found.wanted[class] or count > 0 or not next(found.wanted) then found.classes[class] = true end
  if count == 0 and part and found.classes[class] then
    found.absent[#found.absent + 1] = ("'%s' in %s"):format(class, part)
  end
end

--- Counts files that stand beside the folders of classes.
local function count_strays(files, found)
  local strays = 0
  for _, name in ipairs(files) do
    if is_picture(name) then
      strays = strays + 1
    elseif foreign[suffix_of(name)] then
      pass_over(found, suffix_of(name))
    end
  end
  if strays > 0 then found.passed.stray = (found.passed.stray or 0) + strays end
  return strays
end

--- Appends the pictures of all folders in root; or returns a message.
local function collect_classes(root, files, folders, found, part)
  local before = #found.paths
  local strays = count_strays(files, found)
  for _, folder in ipairs(folders) do
    if names.is_mask(folder) and not found.wanted[folder] then
      pass_over(found, "mask")
    elseif not names.is_rubbish(folder) then
      local message = collect_class(root, folder, found, part)
      if message then return message end
    end
  end
  if part and strays > 0 and #found.paths == before then
    return ("data: %s is named like a part of a set, but holds pictures itself, not a folder per class; if '%s' is a "
      .. "class, name all with `classes`"):format(root, part)
  end
end

--- Folders among `folders` that are parts, not classes; and the others.
local function find_parts(folders, wanted)
  local parts, others = {}, {}
  for _, name in ipairs(folders) do
    if names.is_part(name) and not wanted[name] then
      parts[#parts + 1] = name
    elseif not names.is_mask(name) and not names.is_rubbish(name) then
      others[#others + 1] = name
    end
  end
  return parts, others
end

local function new_found(classes)
  local found = { paths = {}, names = {}, parts = {}, classes = {}, wanted = {}, passed = {}, absent = {} }
  for _, class in ipairs(classes or {}) do found.wanted[class], found.classes[class] = true, true end
  return found
end

--- Folders beside parts are passed over where nothing or little can be meant by them; or a message.
local function pass_over_others(root, parts, others, found)
  local trained = false
  for _, part in ipairs(parts) do trained = trained or part:lower():find "^train" ~= nil end
  for _, name in ipairs(others) do
    local beside = new_found()
    local message = collect(root .. "/" .. name, beside, 1)
    if message then return message end
    if #beside.paths > 0 and not trained then
      return ("data: %s: '%s' holds pictures and stands beside '%s', which is named like a part of a set; name the "
        .. "classes with `classes`"):format(root, name, parts[1])
    end
    if #beside.paths > 0 then found.passed[name .. "/"] = #beside.paths end
  end
end

local function collect_parts(root, parts, found)
  for _, part in ipairs(parts) do
    local below = root .. "/" .. part
    local files, folders = core.list_folder(below)
    if not files then return folders end
    local message = collect_classes(below, files, folders, found, part)
    if message then return message end
  end
end

--- What was passed over, as text: "12 .tif, 3 masks"; nil when nothing was.
local function passed_text(passed)
  local kinds, list = {}, {}
  for kind in pairs(passed) do kinds[#kinds + 1] = kind end
  plain.sort(kinds)
  for i, kind in ipairs(kinds) do
    local what = kind == "mask" and "masks or folders of masks" or kind == "stray" and "pictures in no class's folder"
      or kind == "" and "files without a suffix" or kind:find "/$" and "pictures in " .. kind or "." .. kind
    list[i] = ("%d %s"):format(passed[kind], what)
  end
  return list[1] and ("%s (%s)"):format(table.concat(list, ", "), READABLE)
end

--- How many classes have a picture; and the first of them.
local function count_classes(found)
  local first, count, seen = found.names[1], 0, {}
  for _, class in ipairs(found.names) do
    if not seen[class] then seen[class], count = true, count + 1 end
  end
  return count, first
end

--- The deepest folder that holds a folder with each of the pictures.
local function common_folder(paths)
  local common = paths[1]:match "^(.*/)[^/]*/[^/]*$"
  for _, path in ipairs(paths) do
    while path:sub(1, #common) ~= common do common = common:match "^(.*/)[^/]*/$" end
  end
  return (common:gsub("/$", ""))
end

--- A message where the pictures can't be what the user means: there are none, or they lie a level deeper.
local function check_found(root, found)
  local passed = passed_text(found.passed)
  if #found.paths == 0 then
    return ("data: %s: no pictures in folders below it, one per class%s"):format(root,
      passed and "; passed over: " .. passed or "")
  end
  local count, class = count_classes(found)
  if count == 1 and not found.direct and not found.wanted[class] then
    return ("data: %s: the only folder with pictures, '%s', has them in folders of its own: open %s if these are the "
      .. "classes, or say classes = { \"%s\" }"):format(root, class, common_folder(found.paths), class)
  end
end

local function warn_of_found(root, found)
  local warn, passed = require("texres").warn, passed_text(found.passed)
  if passed then warn(("data: %s: passed over %s"):format(root, passed)) end
  if found.absent[1] then warn(("data: %s: no images of %s"):format(root, table.concat(found.absent, ", "))) end
end

--- Reads root/CLASS/** or root/PART/CLASS/**: what was found, or nil and a message.
local function read_folders(root, classes)
  local files, folders = core.list_folder(root)
  if not files then return nil, folders end
  local found = new_found(classes)
  local parts, others = find_parts(folders, found.wanted)
  local message
  if #parts > 0 then
    count_strays(files, found)
    message = pass_over_others(root, parts, others, found) or collect_parts(root, parts, found)
  else
    message = collect_classes(root, files, folders, found, nil)
  end
  message = message or check_found(root, found)
  if message then return nil, message end
  found.masks = mask_paths(root, found.paths)
  if found.masks then found.passed.mask = (found.passed.mask or 1) > 1 and found.passed.mask - 1 or nil end
  warn_of_found(root, found)
  return found
end

--- Pictures in one folder per class: `folder { path = "textile" }` reads textile/CLASS/**.png (jpg, jpeg, bmp, tga,
-- pgm, ppm). What starts with a dot is skipped, other files and masks (masks/, hole_001_mask.png) are counted and said
-- with texres.warn; a folder without pictures is a class with 0 images. A level above, folders named train, val, test
-- become the column `split`; their classes are one list. `size` = n or {height, width} resizes all (without it they
-- must be equally large), `channels` = 1 or 3 makes them gray or RGB (2 and 4: with alpha), `cache` = false decodes
-- them whenever they are read, true keeps them in memory however many they are; `classes` gives the classes and their
-- order. The column `path` holds the paths; tables (`meta`, `groups`) are joined by their own column of that name.
-- Where textile/masks/ has a picture of the same path for every picture, these are the set's masks.
--
-- A picture that can't be read is an error, now or when it is read first. `bad` = "skip" decodes all now and leaves
-- such pictures out; `set.skipped` lists them, print(set) counts them. `max_pixels` = 2^27 bounds the size of a
-- picture: a small file may declare a very large one.
function pictures.folder(options)
  make.check_options(options, "folder", "path classes meta groups channels size cache bad max_pixels")
  local root = make.check_path(options, "folder", "path"):gsub("(.)/+$", "%1")
  local found, message = read_folders(root, options.classes)
  if not found then return nil, message end
  local classes, parted = {}, false
  for class in pairs(found.classes) do classes[#classes + 1] = class end
  for _, part in ipairs(found.parts) do parted = parted or part ~= false end
  return open_pictures(found.paths, found.masks, options, function(source, masks)
    return make.set(source, found.names, options, {
      origin = root, root = root, paths = found.paths, classes = names.sort(classes), masks = masks,
      columns = { path = found.paths, split = parted and found.parts or nil },
    })
  end)
end

-- -- a table of paths ------------------------------------------------------------------------------------------------

--- The paths that a table lists, relative ones from `root` on; or nil and a message.
local function read_paths(t, wanted, root)
  local name = wanted or columns.find_all(t.text, names.paths)[1]
  if not name or not t.text[name] then
    return nil, ("data: %s: there is no column '%s' with paths (columns: %s)"):format(t.where, wanted or names.paths[1],
      columns.list(t.text))
  end
  local paths = {}
  for i, path in ipairs(t.text[name]) do
    if path == "" then return nil, ("data: %s: the path %s is missing"):format(t.where, columns.at(t, i)) end
    paths[i] = path:sub(1, 1) == "/" and path or root .. "/" .. path
  end
  return paths
end

--- Pictures and labels that a CSV file lists: `csv { file = "list.csv" }`. `paths` and `labels` name the columns
-- where they aren't called path (file, filename, image) and label; paths are relative to `root`, by default the
-- folder of the CSV file. `size`, `channels`, `cache`, `bad`, `max_pixels` and masks as in folder.
function pictures.csv(options)
  make.check_options(options, "csv", "file paths labels classes root groups channels size cache bad max_pixels")
  local file = make.check_path(options, "csv", "file")
  local t, message = columns.read(file)
  if not t then return nil, message end
  local root, paths = options.root or file:match "^(.*)/[^/]*$" or "."
  paths, message = read_paths(t, options.paths, root)
  if not paths then return nil, message end
  return open_pictures(paths, mask_paths(root, paths), options, function(source, masks)
    return make.set(source, options.labels, { classes = options.classes, groups = options.groups }, {
      origin = file, root = root, paths = paths, ordered = true, columns = t.columns, text = t.text, lines = t.lines,
      masks = masks,
    })
  end)
end

return pictures
