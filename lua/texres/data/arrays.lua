--- Readers of arrays: .npy, .npz, HDF5, tensors. Each returns a Set, or nil and a message.
--
-- Images are {N,H,W} or {N,H,W,C}, channels last. {N,C,H,W}, as PyTorch has them, is refused where it would be taken
-- for images of 1 to 4 rows and more than 4 channels.
--
-- All take `labels` (see texres.data.labels), `classes` (list of names), `meta` (a CSV file or a table of columns)
-- and `groups` (the column that says which images belong together, or "index.csv:source").
--
-- Pixels of 8 and 16 bits without sign become 0..1, whatever they hold: they are divided by 255 and 65535. Other
-- integers are divided by 255 where all pixels of the file lie within 0..255, by 65535 where within 0..65535, and
-- refused where not; floats and bool stay as they are. `scale` says instead what to multiply them by.
--
-- A file that would become more than 1 GiB and more than 16 times its size in memory, being packed (.npz, HDF5) or a
-- table (CSV), is refused: `max_bytes` says how much it may become.
-- @module texres.data

local core = require "texres.core"
local plain = require "texres.plain"
local cells = require "texres.data.cells"
local columns = require "texres.data.columns"
local join = require "texres.data.join"
local layout = require "texres.data.layout"
local make = require "texres.data.make"
local names = require "texres.data.names"
local option = require "texres.options"
local raise = require "texres.raise"
local ranges = require "texres.data.ranges"

local arrays = {}

--- Masks {N,H,W} of any type as u8, 1 where they are not 0.
local function mask_source(masks, images, where)
  if masks:dim() == 2 then masks = masks:unsqueeze(1) end
  local fits = masks:dim() == 3 or masks:dim() == 4 and masks:size(4) == 1
  if not fits or masks:size(1) ~= #images or masks:size(2) ~= images.height or masks:size(3) ~= images.width then
    return nil, ("data: %s: masks {%s} don't fit %d images of %dx%d"):format(where, table.concat(masks:shape(), ","),
      #images, images.height, images.width)
  end
  return core.source(masks:ne(0), 1)
end

--- Images and labels of .npy files: `npy { images = "X.npy", labels = "Y.npy", classes = {...} }`.
-- Images {N,H,W} or {N,H,W,C} of any integer or float type stay in the mapped file, which may be larger than memory.
-- `masks`: an .npy file of masks {N,H,W}, not 0 where the defect is.
function arrays.npy(options)
  options = make.options("npy", options, "images labels classes meta groups scale masks max_bytes")
  local path = option.check("data.npy", "images", options.images, option.PATH)
  local source, message = core.npy_source(path, options.scale)
  if not source then return nil, message end
  local loaded, masks
  if options.masks then
    loaded, message = core.load_npy(options.masks)
    if not loaded then return nil, message end
    masks, message = mask_source(loaded, source, options.masks)
    if not masks then return nil, message end
  end
  return make.set(source, options.labels, options, { origin = path, root = path:match "^(.*)/[^/]*$", masks = masks })
end

--- Images and labels that are tensors: {N,H,W} or {N,H,W,C}; labels from 1; `masks` {N,H,W}, not 0 where the defect is.
function arrays.tensors(options)
  options = make.options("tensors", options, "images labels classes meta groups scale masks max_bytes")
  if not core.is_tensor(options.images) then raise "data.tensors: images must be a tensor" end
  local source, message = core.source(options.images, options.scale)
  if not source then return nil, "data.tensors: " .. message end
  local masks
  if options.masks then
    masks, message = mask_source(options.masks, source, "masks")
    if not masks then return nil, message end
  end
  return make.set(source, options.labels, options, { masks = masks })
end

--- The arrays of a file and those that were passed over, for messages.
local function describe_members(list, foreign)
  local known, passed = {}, {}
  for _, array in ipairs(list) do known[array.name] = true end
  for _, reason in pairs(foreign) do passed[#passed + 1] = reason end
  return "arrays: " .. columns.list(known)
    .. (#passed > 0 and "; not read: " .. table.concat(plain.sort(passed), "; ") or "")
end

--- The labels of pieces, one after the other, or those that the file holds of all: { stored = tensor, path = }; false
-- where there are none; or nil and a message.
local function stored_labels(pieces, common, load, path)
  if common then
    local labels, message = load(common)
    return labels and { stored = labels, path = path }, message
  end
  local parts = {}
  for i, piece in ipairs(pieces) do
    if (piece.labels ~= nil) ~= (pieces[1].labels ~= nil) then
      local bare = piece.labels and pieces[1] or piece
      return nil, ("data: %s: there are no labels for %s, but for others"):format(path, bare.images.name)
    end
    if piece.labels then
      local labels, message = load(piece.labels)
      if not labels then return nil, message end
      parts[i] = labels:reshape(labels:numel())
    end
  end
  if #parts < 2 then return parts[1] and { stored = parts[1], path = path } or false end
  for i, labels in ipairs(parts) do parts[i] = labels:to "f64" end
  return { stored = core.cat(parts, 1), path = path }
end

--- Sources of the images of all pieces, of which integers of any type are worth the same where their values tell it; or
-- nil and a message. open(array, scale): scale nil: what type or values tell.
local function open_sources(pieces, open)
  local sources, least, message = {}
  for i, piece in ipairs(pieces) do
    sources[i], message = open(piece.images)
    if not sources[i] then return nil, message end
    local guessed = sources[i].guessed
    least = guessed and math.min(guessed, least or guessed) or least
  end
  for i, piece in ipairs(pieces) do
    if sources[i].guessed and sources[i].guessed ~= least then
      sources[i], message = open(piece.images, least)
      if not sources[i] then return nil, message end
    end
  end
  return sources
end

--- Sources of all images and, where every piece has them, of masks; or nil and a message. open: as for open_sources;
-- hold(source): the source as it is kept.
local function open_pieces(pieces, open, hold, load, path)
  local sources, problem = open_sources(pieces, open)
  if not sources then return nil, problem end
  local masks, message = {}
  for i, piece in ipairs(pieces) do
    sources[i], message = hold(sources[i])
    if not sources[i] then return nil, message end
    local first, source = sources[1], sources[i]
    if source.height ~= first.height or source.width ~= first.width or source.channels ~= first.channels then
      return nil, ("data: %s: images of %s and %s differ in size"):format(path, pieces[1].images.name,
        piece.images.name)
    end
    if piece.masks then
      local loaded, mask
      loaded, message = load(piece.masks)
      if not loaded then return nil, message end
      mask, message = mask_source(loaded, source, path .. ": " .. piece.masks.name)
      if not mask then return nil, message end
      masks[#masks + 1] = mask
    end
  end
  if #masks > 0 and #masks < #pieces then
    require("texres").warn(("data: %s: only %d of %d arrays have masks: none are taken"):format(path, #masks, #pieces))
    masks = {}
  end
  if #pieces == 1 then return sources[1], masks[1] end
  local source
  source, message = ranges.join(sources, "array")
  if not source then return nil, ("data: %s: %s"):format(path, message) end
  return source, masks[1] and core.concat_sources(masks)
end

--- What the names of groups tell of each image: classes, and the columns split and angle.
local function read_groups(pieces, counts)
  local classes, split, angles = {}, {}, {}
  for i, piece in ipairs(pieces) do
    for _ = 1, counts[i] do
      classes[#classes + 1], split[#split + 1], angles[#angles + 1] = piece.class, piece.part, piece.angle
    end
  end
  return classes[1] and classes, { split = split[1] and split, angle = angles[1] and (cells.typed(angles)) }
end

--- A set of the pieces of a file (see texres.data.layout). foreign: by name, why others of its arrays can't be read;
-- open(array, scale) gives a source of images, hold(source) the one to keep, load(array) a tensor.
local function read_pieces(list, foreign, options, open, hold, load)
  local path, wanted = options.file, options.dataset
  local unreadable = wanted and (foreign[wanted] or foreign["/" .. wanted])
  if unreadable then return nil, ("data: %s: %s"):format(path, unreadable) end
  local pieces, common = layout.read(list, options, path)
  if not pieces then return nil, common end
  local source, masks = open_pieces(pieces, open, hold, load, path)
  if not source then return nil, masks end
  local labels, message = stored_labels(pieces, common, load, path)
  if labels == nil then return nil, message end
  local counts, in_order = {}, {}
  for i, piece in ipairs(pieces) do counts[i], in_order[i] = layout.count_of(piece.images), piece.images.name end
  local order = #pieces > 1 and table.concat(in_order, ", ") or nil
  if common then join.warn_of_arrays(path, ("the labels in '%s'"):format(common.name), { order = order }) end
  local classes, known = read_groups(pieces, counts)
  local told = (labels or classes) and { table.unpack(names.labels) } or {}
  for name in pairs(known) do told[#told + 1] = name end
  return make.set(source, labels or options.labels or classes or nil, options, {
    origin = #pieces == 1 and ("%s (%s)"):format(path, pieces[1].images.name) or path, masks = masks,
    named = not labels and options.labels == nil, columns = known, root = path:match "^(.*)/[^/]*$",
    members = describe_members(list, foreign), order = order, told = told,
  })
end

--- Images and labels of an .npz archive: `npz { file = "set.npz" }`. `dataset` names the member with the images where
-- there are several, `labels` that with the labels (or another file).
function arrays.npz(options)
  options = make.options("npz", options, "file dataset labels classes meta groups scale max_bytes")
  local path = options.file
  local tensors, types, foreign = core.load_npz(path, { max_bytes = options.max_bytes })
  if not tensors then return nil, types end
  local list = {}
  for name, t in pairs(tensors) do list[#list + 1] = { name = name, shape = t:shape() } end
  table.sort(list, function(a, b) return plain.less(a.name, b.name) end)
  return read_pieces(list, foreign, options, function(array, scale)
    local where = ("%s: %s"):format(path, array.name)
    local source, message = core.source(tensors[array.name], options.scale or scale, types[array.name])
    return source, message and ("data: %s: %s"):format(where, message)
  end, function(source) return source end, function(array) return tensors[array.name] end)
end

-- -- HDF5 ------------------------------------------------------------------------------------------------------------

--- The source of a dataset to keep: in memory, or read image by image when it is large; or nil and a message.
local function hold_dataset(options, source)
  local is_small, bytes = make.fits_memory(source, #source)
  local fits, message = core.check_unpacked(options.file, bytes, options.max_bytes)
  if options.cache and not fits then return nil, message end
  local in_memory = options.cache
  if in_memory == nil then in_memory = fits and is_small end
  if not in_memory then return source end
  local copy, problem = source:cache()
  if copy then ranges.note_copy(copy, source) end
  return copy, problem
end

--- Images of an HDF5 file: `hdf5 { file = "train64.h5", labels = "train64.csv" }`.
-- `dataset` names the images where there are several with 3 or 4 dimensions; `labels` a dataset with as many labels,
-- or another file. Without `dataset`, datasets in groups are read as one set, in order of their names: of parts
-- (/train/images, /test/images: the column `split`), of classes and angles (/color/20: the column `angle`); where
-- labels stand in groups that are no parts (/left/images, /left/labels), labels = "labels" takes them and labels =
-- false the groups' names. Masks beside images (/data/masks) become the set's masks. Datasets above
-- 2 GiB stay in the file; `cache` = true or false says otherwise.
function arrays.hdf5(options)
  options = make.options("hdf5", options, "file dataset labels classes meta groups scale cache max_bytes")
  local path = options.file
  local list, foreign = core.hdf5_datasets(path)
  if not list then return nil, foreign end
  local limit = { max_bytes = options.max_bytes }
  return read_pieces(list, foreign, options, function(array, scale)
    return core.hdf5_source(path, array.name, options.scale or scale, limit)
  end, function(source) return hold_dataset(options, source) end,
    function(array) return core.load_hdf5(path, array.name, limit) end)
end

return arrays
