--- What all readers share: options, and a set made from a source and what the options say about it.

local columns = require "texres.data.columns"
local join = require "texres.data.join"
local find_labels = require "texres.data.labels"
local option = require "texres.options"
local Set = require "texres.data.set"

local make = {}

local KNOWN = { -- of all readers together
  images = option.any(), -- required: the path of an .npy file, or a tensor, {N,H,W} or {N,H,W,C}
  labels = option.any(), -- a path, a name inside of the file, a list or a tensor: see texres.data.labels
  meta = option.any(), -- what else is known of each image: a CSV file or a table of columns
  groups = option.text(), -- the column that says which images belong together, or "index.csv:source"
  size = option.any(), -- what pictures are resized to: n or {height, width}; without it they must be equally large
  file = option.text(), -- required: the path of the file
  path = option.text(), -- required: the path of the folder
  paths = option.text(), -- the column that holds the paths of pictures
  root = option.text(), -- the folder that these paths begin in, by default that of the CSV file
  dataset = option.text(), -- the name of the images in the file, where it has several arrays
  classes = option.table(), -- the names of the classes in their order: label 1 is the first
  cache = option.switch(), -- whether images are kept in memory; by default where they are few enough
  scale = option.number(nil, "(0, inf)"), -- what pixels are multiplied by, in place of the rule for their type
  channels = option.integer(nil, "[1, 4]"), -- 1 makes pictures gray, 3 RGB, 2 and 4 with alpha
  masks = option.any(), -- masks {N,H,W} of defects, not 0 where they are
  bad = option.choice("error", { "error", "skip" }), -- what becomes of pictures that can't be read
  max_bytes = option.COUNT, -- how much a packed file may become in memory, beyond 1 GiB and 16 times its size
  max_pixels = option.COUNT, -- the most pixels of a picture that is decoded
}

--- A reader's options in full. `names`: those it has, separated by blanks; the first one must be there.
function make.options(reader, options, names)
  local where, known = "data." .. reader, {}
  for name in names:gmatch "%S+" do known[name] = KNOWN[name] end
  local o, first = option.read(where, options, known), names:match "%S+"
  if known[first] ~= KNOWN.images then option.check(where, first, o[first], option.PATH) end
  return o
end

--- The column to group by: `groups` is its name, or "index.csv:source", whose columns are then added to `all`.
local function find_group(groups, all, samples)
  if groups == nil then return nil end
  local path, column = columns.split_name(groups)
  if not column or all.columns[groups] then
    column = groups
  else
    local t, message = join.add(all, path, samples)
    if not t then return nil, message end
  end
  if not all.columns[column] then
    return nil, ("data: there is no column '%s' to group by (columns: %s)"):format(column, columns.list(all.columns))
  end
  local message = columns.check(all.columns[column], ("value of column '%s'"):format(column), all.from[column])
  if message then return nil, message end
  return column
end

--- Says so when classes that nobody named have no images: an empty folder, a number that no label has.
local function warn_of_empty(set)
  local empty = {}
  for c, count in ipairs(set:counts()) do
    if count == 0 then empty[#empty + 1] = ("'%s'"):format(set.classes[c]) end
  end
  if #empty == 0 then return end
  require("texres").warn(("data: %s: no images of %s; name the classes with `classes` if %s not meant"):format(
    set.origin or "images", table.concat(empty, ", "), #empty > 1 and "these are" or "this is"))
end

--- A set from a source.
-- @param labels see texres.data.labels
-- @param options meta (a CSV file or a table of columns), groups, classes
-- @param about what the reader knows: origin (for people); columns that it made itself; classes, which folders name;
-- named, whether `labels` are names of folders; masks (a source); paths, ordered, root, order, told, members
-- (see texres.data.join and labels)
-- @return Set | nil, message
function make.set(source, labels, options, about)
  local samples = { count = #source, max_bytes = options.max_bytes }
  for _, name in ipairs { "paths", "ordered", "root", "order", "told", "members", "named" } do
    samples[name] = about[name]
  end
  local origin = about.origin or "images"
  local all = { columns = {}, from = {} }
  local known = about.columns or {}
  columns.add(all, { where = origin, columns = known, text = about.text or known, lines = about.lines })
  local t, message = join.add(all, options.meta or {}, samples)
  if not t then return nil, message end
  local classes, group
  labels, classes = find_labels(labels, all, samples, options.classes or about.classes, origin)
  if not labels then return nil, classes end
  group, message = find_group(options.groups, all, samples)
  if message then return nil, message end
  local set = Set.new {
    source = source, labels = labels, classes = classes, meta = all.columns, group = group, origin = about.origin,
    masks = about.masks,
  }
  if not options.classes then warn_of_empty(set) end
  return set
end

--- Whether `count` images of a source are kept in memory where the user does not say; and their bytes there.
function make.fits_memory(source, count)
  local bytes = count * source.height * source.width * source.channels * (source.dtype == "u8" and 1.0 or 4.0)
  return bytes <= 2 ^ 31, bytes
end

--- The set without pictures that can't be read. bad: list of { index =, message = }.
function make.leave_out(set, paths, bad)
  if #bad == 0 then return set end
  local out = {}
  for i, one in ipairs(bad) do out[i] = one.index end
  local kept = set:without(out)
  for i, one in ipairs(bad) do kept.skipped[i] = { path = paths[one.index], message = one.message } end
  return kept
end

return make
