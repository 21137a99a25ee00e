--- What all readers share: options, and a set made from a source and what the options say about it.

local columns = require "texres.data.columns"
local join = require "texres.data.join"
local find_labels = require "texres.data.labels"
local option = require "texres.options"
local Set = require "texres.data.set"

local make = {}

local KNOWN = { -- of all readers together
  images = option.any(), labels = option.any(), meta = option.any(), groups = option.text(), size = option.any(),
  file = option.text(), path = option.text(), paths = option.text(), root = option.text(), dataset = option.text(),
  classes = option.table(), cache = option.switch(), scale = option.number(nil, "(0, inf)"),
  channels = option.integer(nil, "[1, 4]"), masks = option.any(), bad = option.choice("error", { "error", "skip" }),
  max_bytes = option.COUNT, max_pixels = option.COUNT,
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
