--- Which arrays of a file (.npz, HDF5) hold images, which masks and labels; and of which class or part they are.
--
--     /images, /labels                       images {N,H,W} or {N,H,W,C}, labels {N}
--     /data/images, /data/masks              masks stand beside their images, under another name
--     /train/images, /train/labels, /test/…  a group per part: the column `split`
--     /color/20, /color/40, /cut/20          a group per class, in it a dataset per angle: the column `angle`
--
-- An array is { name = "/train/images", shape = {N, H, W, C} }. The result is a list of pieces, { images = array,
-- masks = array or nil, labels = array or nil, part =, class =, angle = }: of one piece where one array holds all.

local names = require "texres.data.names"

local layout = {}

local function split_path(path)
  local parts = {}
  for name in path:gmatch "[^/]+" do parts[#parts + 1] = name end
  return parts
end

local function list_names(arrays)
  local list = {}
  for i, array in ipairs(arrays) do list[i] = array.name end
  return #list > 0 and table.concat(list, ", ") or "none"
end

local function find(arrays, name)
  for _, array in ipairs(arrays) do
    if array.name == name or array.name == "/" .. name then return array end
  end
end

--- A name as the file would spell it: those of HDF5 begin with a slash.
local function spell(arrays, name)
  return (arrays[1] and arrays[1].name:find "^/" and "/" or "") .. name:gsub("^/", "")
end

--- The only position at which two paths of equal length differ, or nil.
local function difference(a, b)
  local at
  for k = 1, math.max(#a, #b) do
    if a[k] ~= b[k] then
      if at or #a ~= #b then return nil end
      at = k
    end
  end
  return at
end

--- The array beside another, at whose path stands one name of a kind in place of another: images -> masks.
local function find_beside(arrays, array, is_kind)
  local path, found = split_path(array.name)
  for _, other in ipairs(arrays) do
    local beside = split_path(other.name)
    local at = difference(path, beside)
    if at and is_kind(beside[at], other) then
      if found then return nil end
      found = other
    end
  end
  return found
end

local function is_mask(array)
  for _, name in ipairs(split_path(array.name)) do
    if names.is_mask(name) then return true end
  end
  return false
end

--- The part (train, test) that stands in an array's path, or in a word of it (x_train); or nil.
local function part_of(array) return names.part_in(array.name) end

--- The arrays that may hold images. One image alone may be {H,W}, where it is as large as the others.
local function find_images(arrays)
  local found, sizes = {}, {}
  for _, array in ipairs(arrays) do
    local s = array.shape
    if (#s == 3 or #s == 4) and not is_mask(array) then sizes[s[2] .. "x" .. s[3]] = true end
  end
  for _, array in ipairs(arrays) do
    local s = array.shape
    local fits = #s == 3 or #s == 4 or #s == 2 and (next(sizes) == nil or sizes[s[1] .. "x" .. s[2]])
    local path = split_path(array.name)
    if fits and (#s > 2 or #path > 1) and not is_mask(array) and not names.is_label_array(path[#path]) then
      found[#found + 1] = array
    end
  end
  return found
end

-- -- labels ----------------------------------------------------------------------------------------------------------

--- How many images an array holds: {H,W} is one.
function layout.count_of(images) return #images.shape == 2 and 1 or images.shape[1] end

local function holds_labels(array, images)
  local count, part = layout.count_of(images), part_of(array)
  return array ~= images and (part == nil or part == part_of(images)) and array.shape[1] == count
    and (#array.shape == 1 or #array.shape == 2 and array.shape[2] == 1)
end

--- The labels that stand beside an array of images and are called so.
local function labels_beside(arrays, images)
  return find_beside(arrays, images, function(name, array)
    return names.is_label_array(name) and holds_labels(array, images)
  end)
end

--- The labels of the only array of images: those beside it, else those of the file that are called so, else the only
-- list of that length, which is said; may be nil.
local function find_labels(arrays, images, where)
  local beside = labels_beside(arrays, images)
  if beside then return beside end
  local named, lists = {}, {}
  for _, array in ipairs(arrays) do
    local path = split_path(array.name)
    local fits = holds_labels(array, images)
    if fits and #array.shape == 1 then lists[#lists + 1] = array end
    if fits and names.is_label_array(path[#path]) then named[#named + 1] = array end
  end
  if #named > 0 or #lists ~= 1 then return #named == 1 and named[1] or nil end
  if not lists[1].name:find "^arr_%d+$" then -- as numpy calls arrays that have no name
    require("texres").warn(("data: %s: labels are taken from '%s'"):format(where, lists[1].name))
  end
  return lists[1]
end

-- -- pieces ----------------------------------------------------------------------------------------------------------

local function piece_of(arrays, images)
  return {
    images = images, masks = find_beside(arrays, images, names.is_mask), path = split_path(images.name),
  }
end

--- Takes the name of a part out of the path of each piece that has one.
local function take_parts(pieces, classes)
  local is_class = {}
  for _, name in ipairs(classes or {}) do is_class[name] = true end
  for _, piece in ipairs(pieces) do
    for k, name in ipairs(piece.path) do
      if names.is_part(name) and not is_class[name] then
        piece.part = table.remove(piece.path, k)
        break
      end
    end
  end
end

--- How many names at the front of all paths are the same, with one more behind them at least.
local function shared_depth(pieces)
  local depth = 0
  while true do
    for _, piece in ipairs(pieces) do
      if #piece.path < depth + 2 or piece.path[depth + 1] ~= pieces[1].path[depth + 1] then return depth end
    end
    depth = depth + 1
  end
end

--- The classes of pieces in groups: the first name in which their paths differ. False when they don't tell any.
local function name_classes(pieces)
  local depth, several = shared_depth(pieces), false
  for _, piece in ipairs(pieces) do
    if #piece.path < depth + 2 then return false end
    several = several or piece.path[depth + 1] ~= pieces[1].path[depth + 1]
  end
  for _, piece in ipairs(pieces) do piece.class, piece.angle = piece.path[depth + 1], piece.path[depth + 2] end
  return several
end

--- Whether each part has one array of images.
local function are_parts(pieces)
  local taken = {}
  for _, piece in ipairs(pieces) do
    if not piece.part or taken[piece.part] then return false end
    taken[piece.part] = true
  end
  return true
end

local function choose_error(where, list, what)
  return nil, ("data: %s: %s: say with `dataset` which holds the images"):format(where, what or
    (#list == 0 and "no arrays" or list_names(list):gsub(", ", " and ")) .. " have 3 or 4 dimensions")
end

--- The labels of all images of the file, in order: the array that the user names or that is called so and fits.
local function find_common(arrays, pieces, wanted)
  if type(wanted) == "string" then return find(arrays, wanted) end
  local count, found = 0, nil
  for _, piece in ipairs(pieces) do count = count + layout.count_of(piece.images) end
  for _, array in ipairs(wanted == nil and arrays or {}) do
    local path = split_path(array.name)
    if #path == 1 and #array.shape == 1 and array.shape[1] == count and names.is_label_array(path[1]) then
      if found then return nil end
      found = array
    end
  end
  return found
end

--- Takes out the pieces that are of no part, where others are of one; or nil and a message.
local function leave_out_others(pieces, where)
  local kept, others, trained = {}, {}, false
  for _, piece in ipairs(pieces) do
    if piece.part then kept[#kept + 1] = piece else others[#others + 1] = piece.images end
    trained = trained or piece.part ~= nil and piece.part:lower():find "^train" ~= nil
  end
  if #others == 0 or #kept == 0 then return pieces end
  if not trained then
    return choose_error(where, pieces, ("%s stands beside '%s', which is named like a part of a set"):format(
      others[1].name, kept[1].images.name))
  end
  require("texres").warn(("data: %s: passed over %s, of no part (train, test)"):format(where, list_names(others)))
  return kept
end

--- Gives pieces the labels that stand beside their images, called as `wanted` says or, where it is nil, as labels are
-- called. Returns the first of them, or nil.
local function take_labels(arrays, pieces, wanted)
  local first
  for _, piece in ipairs(pieces) do
    local beside = type(wanted) == "string" and find(arrays, piece.images.name:gsub("[^/]*$", "") .. wanted)
    piece.labels = beside or wanted == nil and labels_beside(arrays, piece.images) or nil
    first = first or piece.labels
  end
  return first
end

--- The first class of pieces that is called like a part, and that the user did not name.
local function find_part(pieces, classes)
  local is_class = {}
  for _, name in ipairs(classes or {}) do is_class[name] = true end
  for _, piece in ipairs(pieces) do
    if names.part_in(piece.class) and not is_class[piece.class] then return piece.class end
  end
end

--- Pieces that lie in groups, and labels of all where one array holds these; or nil and a message.
local function in_groups(arrays, images, options, where)
  local pieces, wanted = {}, options.labels
  for i, array in ipairs(images) do pieces[i] = piece_of(arrays, array) end
  take_parts(pieces, options.classes)
  local kept, message = leave_out_others(pieces, where)
  if not kept then return nil, message end
  pieces = kept
  local common = find_common(arrays, pieces, wanted)
  if common then return pieces, common end
  local labels = take_labels(arrays, pieces, wanted)
  if are_parts(pieces) or labels and wanted then return pieces end
  local tell = name_classes(pieces)
  if labels and tell then
    return nil, ("data: %s: the groups '%s' ... may be classes, and %s may hold labels: say labels = '%s' for these, "
      .. "labels = false for the groups"):format(where, pieces[1].class, labels.name, labels.name:match "[^/]*$")
  end
  if not tell and wanted == nil then return choose_error(where, images) end
  local part = tell and find_part(pieces, options.classes)
  if part and wanted == nil then
    return nil, ("data: %s: the group '%s' may be a part of a set: name it %s if it is, or name the classes with "
      .. "`classes`"):format(where, part, names.part_in(part))
  end
  return pieces
end

--- The pieces of a file's arrays.
-- @param options dataset (the name of the images) and labels, as the user gave them; classes
-- @param where the file's path, for messages
-- @return list of pieces, array with the labels of all pieces or nil | nil, message
function layout.read(arrays, options, where)
  local images = find_images(arrays)
  if options.dataset then
    local chosen = find(arrays, options.dataset)
    if not chosen then
      return nil, ("data: %s: there is no '%s'; there are %s"):format(where, spell(arrays, options.dataset),
        list_names(arrays))
    end
    images = { chosen }
  end
  if #images ~= 1 then
    local grouped = #images > 0
    for _, array in ipairs(images) do
      local path = split_path(array.name)
      grouped = grouped and (#path > 1 or names.is_part(path[1]))
    end
    if grouped then return in_groups(arrays, images, options, where) end
    return choose_error(where, images)
  end
  local piece = piece_of(arrays, images[1])
  if type(options.labels) == "string" then
    piece.labels = find(arrays, options.labels)
  elseif options.labels == nil then
    piece.labels = find_labels(arrays, images[1], where)
  end
  return { piece }
end

return layout
