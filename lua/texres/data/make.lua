--- What all readers share: options, and a set made from a source and what the options say about it.

local columns = require "texres.data.columns"
local find_labels = require "texres.data.labels"
local raise = require "texres.raise"
local Set = require "texres.data.set"

local make = {}

--- Refuses misspelt options. `known`: names separated by blanks.
function make.check_options(options, operation, known)
  if type(options) ~= "table" then raise("data.%s: options are a table, got %s", operation, type(options)) end
  for name in pairs(options) do
    if not (" " .. known .. " "):find(" " .. tostring(name) .. " ", 1, true) then
      raise("data.%s: unknown option '%s'; there are %s", operation, name, (known:gsub(" ", ", ")))
    end
  end
end

--- The text option `name`, which must be there.
function make.check_path(options, operation, name)
  if type(options[name]) ~= "string" then
    raise("data.%s: %s must be a path, got %s", operation, name, type(options[name]))
  end
  return options[name]
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

--- A set from a source.
-- @param labels see texres.data.labels
-- @param options meta (a CSV file or a table of columns), groups, classes
-- @param origin for people
-- @param known columns that the reader found itself
-- @return Set | nil, message
function make.set(source, labels, options, origin, known)
  local count = #source
  local meta, message = columns.load(options.meta, count)
  if not meta then return nil, message end
  local all = {}
  for name, values in pairs(meta) do all[name] = values end
  for name, values in pairs(known or {}) do all[name] = values end
  local group, classes
  group, message = find_group(options.groups, all, count)
  if message then return nil, message end
  labels, classes = find_labels(labels, count, all, options.classes, origin or "images")
  if not labels then return nil, classes end
  return Set.new { source = source, labels = labels, classes = classes, meta = all, group = group, origin = origin }
end

return make
