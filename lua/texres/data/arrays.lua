--- Readers of arrays: .npy, .npz, HDF5, tensors. Each returns a Set, or nil and a message.
--
-- All take `labels` (see texres.data.labels), `classes` (list of names), `meta` (a CSV file or a table of columns)
-- and `groups` (the column that says which images belong together, or "index.csv:source").
--
-- Pixels of 8 and 16 bits without sign become 0..1, whatever they hold: they are divided by 255 and 65535. Other
-- integers are divided by 255 where all pixels of the file lie within 0..255, by 65535 where within 0..65535, and
-- refused where not; floats and bool stay as they are. `scale` says instead what to multiply them by.
-- @module texres.data

local core = require "texres.core"
local plain = require "texres.plain"
local make = require "texres.data.make"
local raise = require "texres.raise"

local arrays = {}

local MEMORY_FOR_IMAGES = 2 ^ 31 -- bytes; datasets that are larger stay in their file unless `cache = true`

--- Images and labels of .npy files: `npy { images = "X.npy", labels = "Y.npy", classes = {...} }`.
-- Images {N,H,W} or {N,H,W,C} of any integer or float type stay in the mapped file, which may be larger than memory.
function arrays.npy(options)
  make.check_options(options, "npy", "images labels classes meta groups scale")
  local path = make.check_path(options, "npy", "images")
  local source, message = core.npy_source(path, options.scale)
  if not source then return nil, message end
  return make.set(source, options.labels, options, path)
end

--- Images and labels that are tensors: {N,H,W} or {N,H,W,C}; labels from 1.
function arrays.tensors(options)
  make.check_options(options, "tensors", "images labels classes meta groups scale")
  if not core.is_tensor(options.images) then raise "data.tensors: images must be a tensor" end
  local source, message = core.source(options.images, options.scale)
  if not source then return nil, "data.tensors: " .. message end
  return make.set(source, options.labels, options)
end

--- Which array holds the images: the one that `wanted` names, or the only one with 3 or 4 dimensions. `list`: names,
-- and a shape for each.
local function choose_images(list, wanted, where)
  local possible = {}
  for _, array in ipairs(list) do
    if array.name == wanted then return array end
    if #array.shape == 3 or #array.shape == 4 then possible[#possible + 1] = array end
  end
  if wanted then return nil, ("data: %s: there is no '%s'"):format(where, wanted) end
  if #possible == 1 then return possible[1] end
  local names = {}
  for i, array in ipairs(possible) do names[i] = array.name end
  return nil, ("data: %s: %s have 3 or 4 dimensions: say with `dataset` which holds the images"):format(where,
    #names == 0 and "no arrays" or table.concat(names, " and "))
end

--- Which array holds the labels: the one that `wanted` names, or the only one-dimensional one of that length; may be
-- nil.
local function choose_labels(list, wanted, count)
  local found, several
  for _, array in ipairs(list) do
    if array.name == wanted then return array end
    if #array.shape == 1 and array.shape[1] == count then found, several = array, found end
  end
  return not wanted and not several and found or nil
end

--- Images and labels of an .npz archive: `npz { file = "set.npz" }`. `dataset` names the member with the images where
-- there are several, `labels` that with the labels (or another file).
function arrays.npz(options)
  make.check_options(options, "npz", "file dataset labels classes meta groups scale")
  local path = make.check_path(options, "npz", "file")
  local tensors, types = core.load_npz(path)
  if not tensors then return nil, types end
  local list = {}
  for name, t in pairs(tensors) do
    local shape = {}
    for d = 1, t:dim() do shape[d] = t:size(d) end
    list[#list + 1] = { name = name, shape = shape }
  end
  table.sort(list, function(a, b) return plain.less(a.name, b.name) end)
  local images, message = choose_images(list, options.dataset, path)
  if not images then return nil, message end
  if #images.shape ~= 3 and #images.shape ~= 4 then
    return nil, ("data: %s: images {N,H,W} or {N,H,W,C} wanted, '%s' has %d dimensions"):format(path, images.name,
      #images.shape)
  end
  local source
  source, message = core.source(tensors[images.name], options.scale, types[images.name])
  if not source then return nil, ("data: %s: %s"):format(path, message) end
  local labels = choose_labels(list, options.labels, #source)
  local from = labels and { stored = tensors[labels.name], path = path } or options.labels
  return make.set(source, from, options, ("%s (%s)"):format(path, images.name))
end

-- -- HDF5 ------------------------------------------------------------------------------------------------------------

--- A dataset as a source: in memory, or read image by image when it is large.
local function dataset_source(options, dataset)
  local source, message = core.hdf5_source(options.file, dataset.name, options.scale)
  if not source then return nil, message end
  local bytes = #source * source.height * source.width * source.channels * (source.dtype == "u8" and 1 or 4)
  local in_memory = options.cache
  if in_memory == nil then in_memory = bytes <= MEMORY_FOR_IMAGES end
  if in_memory then return source:cache() end
  return source
end

local function split_path(path)
  local names = {}
  for name in path:gmatch "[^/]+" do names[#names + 1] = name end
  return names
end

--- Whether all datasets are images that lie in groups, two at least.
local function is_nested(list)
  for _, dataset in ipairs(list) do
    if #split_path(dataset.name) < 2 or #dataset.shape < 2 or #dataset.shape > 4 then return false end
  end
  return #list > 1
end

--- How many names at the front of all paths are the same, beyond which two more follow.
local function shared_depth(paths)
  local depth = 0
  while true do
    for _, path in ipairs(paths) do
      if #path < depth + 3 or path[depth + 1] ~= paths[1][depth + 1] then return depth end
    end
    depth = depth + 1
  end
end

--- Groups by class, in them datasets by angle: /color/20. What all paths begin with is passed over.
local function read_nested(options, list)
  local paths = {}
  for i, dataset in ipairs(list) do paths[i] = split_path(dataset.name) end
  local depth = shared_depth(paths)
  local sources, names, angles = {}, {}, {}
  for i, dataset in ipairs(list) do
    local source, message = dataset_source(options, dataset)
    if not source then return nil, message end
    local first = sources[1] or source
    if source.height ~= first.height or source.width ~= first.width or source.channels ~= first.channels then
      return nil, ("data: %s: images of %s and %s differ in size"):format(options.file, list[1].name, dataset.name)
    end
    sources[i] = source
    local angle = paths[i][depth + 2]
    for _ = 1, #source do
      names[#names + 1] = paths[i][depth + 1]
      angles[#angles + 1] = math.tointeger(tonumber(angle)) or angle
    end
  end
  return make.set(core.concat_sources(sources), names, options, options.file, { angle = angles })
end

--- Images of an HDF5 file: `hdf5 { file = "train64.h5", labels = "train64.csv" }`.
-- `dataset` names the images where there are several with 3 or 4 dimensions; `labels` a dataset with as many labels,
-- or another file. Without `dataset`, datasets in groups (/color/20: class, angle) are read as one set. Datasets
-- above 2 GiB stay in the file; `cache` = true or false says otherwise.
function arrays.hdf5(options)
  make.check_options(options, "hdf5", "file dataset labels classes meta groups scale cache")
  local path = make.check_path(options, "hdf5", "file")
  local list, message = core.hdf5_datasets(path)
  if not list then return nil, message end
  if not options.dataset and is_nested(list) then return read_nested(options, list) end
  local function named(name) return name and name:sub(1, 1) ~= "/" and "/" .. name or name end
  local images, source
  images, message = choose_images(list, named(options.dataset), path)
  if not images then return nil, message end
  source, message = dataset_source(options, images)
  if not source then return nil, message end
  local from = options.labels
  local labels = choose_labels(list, type(from) == "string" and named(from) or from, #source)
  if labels then
    local stored
    stored, message = core.load_hdf5(path, labels.name)
    if not stored then return nil, message end
    from = { stored = stored, path = path }
  end
  return make.set(source, from, options, ("%s (%s)"):format(path, images.name))
end

return arrays
