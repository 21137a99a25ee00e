--- Readers of image files: a folder per class, or a CSV table of paths. Each returns a Set, or nil and a message.
-- @module texres.data

local core = require "texres.core"
local columns = require "texres.data.columns"
local make = require "texres.data.make"
local names = require "texres.data.names"
local tree = require "texres.data.tree"

local pictures = {}

--- A set of image files, decoded into memory when that is wanted or small enough. `make_set(source, masks)` makes it of
-- sources of all pictures and, where there are such, masks; those that bad = "skip" passes over are then left out.
local function open_pictures(paths, masked_by, options, make_set)
  local source, bad = core.image_source(paths, {
    channels = options.channels, size = options.size, max_pixels = options.max_pixels,
    skip_bad = options.bad == "skip",
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
  local in_memory = options.cache
  if in_memory == nil then in_memory = make.fits_memory(source, #set) end
  if not in_memory then return set end
  return set:cache()
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
-- such pictures out; `set.skipped` lists them, print(set) counts them. What is damaged later, where pictures are not
-- kept in memory, is the matter of the same option of set:loader, Trainer and evaluate.
--
-- A picture has 2^27 pixels at most, and takes no more than 1 GiB and 16 times its file, unless `max_pixels` says how
-- many: small files may declare many. Of a table at most 1 GiB or 16 times its file is made, unless `max_bytes` says
-- how much.
function pictures.folder(options)
  options = make.options("folder", options, "path classes meta groups channels size cache bad max_pixels max_bytes")
  local root = options.path:gsub("(.)/+$", "%1")
  local found, message = tree.read(root, options.classes)
  if not found then return nil, message end
  local classes, parted = {}, false
  for class in pairs(found.classes) do classes[#classes + 1] = class end
  for _, part in ipairs(found.parts) do parted = parted or part ~= false end
  return open_pictures(found.paths, found.masks, options, function(source, masks)
    return make.set(source, found.names, options, {
      origin = root, root = root, named = true, paths = found.paths, classes = names.sort(classes), masks = masks,
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
  if #t.text[name] == 0 then return nil, ("data: %s: it lists no pictures"):format(t.where) end
  for i, path in ipairs(t.text[name]) do
    if path == "" then return nil, ("data: %s: the path %s is missing"):format(t.where, columns.at(t, i)) end
    paths[i] = path:sub(1, 1) == "/" and path or root .. "/" .. path
  end
  return paths
end

--- Pictures and labels that a CSV file lists: `csv { file = "list.csv" }`. `paths` and `labels` name the columns
-- where they aren't called path (file, filename, image) and label; paths are relative to `root`, by default the
-- folder of the CSV file. `size`, `channels`, `cache`, `bad`, `max_pixels`, `max_bytes` and masks as in folder.
function pictures.csv(options)
  options = make.options("csv", options,
    "file paths labels classes root groups channels size cache bad max_pixels max_bytes")
  local file = options.file
  local t, message = columns.read(file, options.max_bytes)
  if not t then return nil, message end
  local root, paths = options.root or file:match "^(.*)/[^/]*$" or "."
  paths, message = read_paths(t, options.paths, root)
  if not paths then return nil, message end
  return open_pictures(paths, tree.masks(root, paths), options, function(source, masks)
    local of_set = { classes = options.classes, groups = options.groups, max_bytes = options.max_bytes }
    return make.set(source, options.labels, of_set, {
      origin = file, root = root, paths = paths, ordered = true, columns = t.columns, text = t.text, lines = t.lines,
      masks = masks,
    })
  end)
end

return pictures
