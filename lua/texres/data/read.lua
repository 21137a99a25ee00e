--- Readers: one function per form of a data set. Each returns a Set, or nil and a message.
-- @module texres.data

local core = require "texres.core"
local columns = require "texres.data.columns"
local find_labels = require "texres.data.labels"
local raise = require "texres.raise"
local Set = require "texres.data.set"

local read = {}

--- Refuses misspelt options.
local function check_options(options, operation, known)
  if type(options) ~= "table" then raise("data.%s: options are a table, got %s", operation, type(options)) end
  for name in pairs(options) do
    if not (" " .. known .. " "):find(" " .. tostring(name) .. " ", 1, true) then
      raise("data.%s: unknown option '%s'; there are %s", operation, name, (known:gsub(" ", ", ")))
    end
  end
end

--- The column to group by: `groups` is its name, or "index.csv:source", whose columns are then added to `meta`.
local function find_group(groups, meta, count)
  if not groups then return nil end
  local path, column = columns.split_name(groups)
  if column then
    local more, message = columns.load(path, count)
    if not more then return nil, message end
    for name, values in pairs(more) do meta[name] = meta[name] or values end
  else
    column = groups
  end
  if not meta[column] then return nil, ("data: there is no column '%s' to group by"):format(column) end
  return column
end

--- A set from a source: metadata, labels and groups as the options say.
local function make_set(source, labels, options, origin)
  local count = #source
  local meta, message = columns.load(options.meta, count)
  if not meta then return nil, message end
  local group, classes
  group, message = find_group(options.groups, meta, count)
  if message then return nil, message end
  labels, classes = find_labels(labels, count, meta, options.classes)
  if not labels then return nil, classes end
  return Set.new { source = source, labels = labels, classes = classes, meta = meta, group = group, origin = origin }
end

--- Images and labels of .npy files: `npy { images = "X.npy", labels = "Y.npy", classes = {...} }`.
-- Images {N,H,W} or {N,H,W,C} of any integer or float type stay in the mapped file, which may be larger than memory;
-- integers become 0..1 (`scale`: what to multiply them by instead). Labels: see texres.data.labels. `meta`: a CSV
-- file or a table of columns; `groups`: the column of it that says which images belong together, or
-- "index.csv:source".
function read.npy(options)
  check_options(options, "npy", "images labels classes meta groups scale")
  if type(options.images) ~= "string" then raise "data.npy: images must be the path of an .npy file" end
  local source, message = core.npy_source(options.images, options.scale)
  if not source then return nil, message end
  return make_set(source, options.labels, options, options.images)
end

--- Images and labels that are tensors: u8 (0..255) or float {N,H,W} or {N,H,W,C}; labels from 1.
function read.tensors(options)
  check_options(options, "tensors", "images labels classes meta groups")
  if not core.is_tensor(options.images) then raise "data.tensors: images must be a tensor" end
  return make_set(core.source(options.images), options.labels, options)
end

return read
