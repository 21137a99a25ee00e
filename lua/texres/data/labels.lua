--- Labels and class names of a set, from whatever form they come in.
--
--     files (.npy, CSV, HDF5)    whole numbers from 0, of any type, or names of classes
--     lists and tensors in Lua   whole numbers from 1, or names of classes
--
-- The result counts from 1. Messages speak the base of the place where the label was found.

local core = require "texres.core"
local plain = require "texres.plain"
local columns = require "texres.data.columns"

local label_columns = { "indication_value", "label", "labels", "class", "category", "target", "y" }
local name_columns = { "indication_type", "class_name", "label_name" }

local function to_list(t)
  if t:dim() == 2 and t:size(2) == 1 then t = t:reshape(t:size(1)) end
  if t:dim() ~= 1 then return nil, ("labels {N} wanted, they have %d dimensions"):format(t:dim()) end
  return t:totable()
end

--- From a column of metadata: the named one, or the one that looks like it.
local function find_values(meta, column, where)
  local name = column or columns.find(meta, label_columns) or columns.find(meta, name_columns)
  if name and meta[name] then return meta[name] end
  return nil, column and ("%s: there is no column '%s'"):format(where, column)
    or where .. ": no labels found: name a file or a column with `labels`"
end

--- The values as found, the base they count from, and where they were found (for messages); or nil and a message.
-- Columns of a CSV file are added to `meta`.
local function find(from, meta, origin)
  if type(from) == "string" then
    local path, column = columns.split_name(from)
    if path:lower():find "%.npy$" then
      local t, message = core.load_npy(path)
      if not t then return nil, message end
      local values
      values, message = to_list(t)
      return values, values and 0 or path .. ": " .. message, path
    end
    local read, message = columns.read(path)
    if not read then return nil, message end
    for name, values in pairs(read) do meta[name] = meta[name] or values end
    local values
    values, message = find_values(read, column, path)
    return values, values and 0 or message, path
  end
  if from and from.stored then -- a tensor that a file held
    local values, message = to_list(from.stored)
    return values, values and 0 or from.path .. ": " .. message, from.path
  end
  if core.is_tensor(from) then
    local values, message = to_list(from)
    return values, values and 1 or message, "labels"
  end
  if from then return from, 1, "labels" end
  local values, message = find_values(meta, nil, origin)
  return values, values and 0 or message, origin
end

--- Names to labels; classes nil: all names, sorted.
local function encode(names, classes, where)
  local number, labels = {}, {}
  if not classes then
    classes = {}
    for _, name in ipairs(names) do
      if not number[name] then
        number[name] = true
        classes[#classes + 1] = name
      end
    end
    plain.sort(classes)
  end
  for c, name in ipairs(classes) do number[name] = c end
  for i, name in ipairs(names) do
    labels[i] = number[name]
    if not labels[i] then
      return nil, ("%s: '%s' is none of the classes %s"):format(where, name, table.concat(classes, ", "))
    end
  end
  return labels, classes
end

--- Class names where none were given: from a column of names beside the labels, else the numbers themselves.
local function name_classes(labels, most, base, meta)
  local classes, names = {}, meta[columns.find(meta, name_columns) or ""]
  for i, label in ipairs(names and labels or {}) do classes[label] = tostring(names[i]) end
  for c = 1, most do classes[c] = classes[c] or tostring(c - 1 + base) end
  return classes
end

local function decode(values, base, classes, meta, where)
  local labels, most = {}, classes and #classes or 65536
  local highest = 0
  for i, value in ipairs(values) do
    local whole = type(value) == "number" and math.tointeger(value)
    if not whole then return nil, ("%s: label %s at position %d is not a whole number"):format(where, value, i) end
    labels[i] = whole + 1 - base
    if labels[i] < 1 or labels[i] > most then
      return nil, ("%s: label %d at position %d: classes are %d..%d"):format(where, whole, i, base, most - 1 + base)
    end
    highest = math.max(highest, labels[i])
  end
  return labels, classes or name_classes(labels, highest, base, meta)
end

--- Labels and classes for `count` images.
-- @param from path of an .npy or CSV file ("train64.csv" or "train64.csv:column"); { stored = tensor, path = },
-- which a file held; a list or tensor of the user; or nil: a column of `meta`
-- @param meta columns, to which those of a CSV file are added
-- @param classes list of names, or nil
-- @param origin where the images come from, for messages
-- @return labels, classes | nil, message
return function(from, count, meta, classes, origin)
  local values, base, where = find(from, meta, origin)
  if not values then return nil, "data: " .. base end
  if #values ~= count then return nil, ("data: %s: %d labels for %d images"):format(where, #values, count) end
  local labels, other
  if type(values[1]) == "string" then
    labels, other = encode(values, classes, where)
  else
    labels, other = decode(values, base, classes, meta, where)
  end
  if not labels then return nil, "data: " .. other end
  return labels, other
end
