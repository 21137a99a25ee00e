--- Labels and class names of a set, from whatever form they come in.
--
--     files (.npy, CSV, HDF5)    whole numbers from 0, of any type, or names of classes; in CSV also where these are
--                                numbers, such as 10 and 20
--     lists and tensors in Lua   whole numbers from 1, or names of classes
--
-- The result counts from 1. Messages speak the base of the place where the label was found.
--
-- What is found: { values = list, base = 0 or 1, where = path, lines = of the file, where it has any, guessed = whether
-- the user did not name the column, from_files = whether an array of a file or names of folders say them, names = names
-- of the classes in a column beside them, or nil }

local core = require "texres.core"
local plain = require "texres.plain"
local cells = require "texres.data.cells"
local columns = require "texres.data.columns"
local formats = require "texres.data.formats"
local join = require "texres.data.join"
local lists = require "texres.data.lists"
local names = require "texres.data.names"
local option = require "texres.options"

--- From a tensor {N} or {N,1}.
local function from_tensor(t, base, where)
  if t:dim() == 2 and t:size(2) == 1 then t = t:reshape(t:size(1)) end
  if t:dim() ~= 1 then
    return nil, ("data: %s: labels {N} wanted, they have %d dimensions"):format(where, t:dim())
  end
  return { values = t:totable(), base = base, where = where, from_files = base == 0 }
end

-- -- columns ---------------------------------------------------------------------------------------------------------

--- The column of labels among several candidates, which must all say the same; or nil and a message.
local function agree(all, candidates)
  for k = 2, #candidates do
    local row = columns.disagreement(all.columns[candidates[1]], all.columns[candidates[k]])
    if row then
      local t = all.from[candidates[1]]
      return nil, ("data: %s: columns '%s' and '%s' may both hold labels and differ %s: name one with `labels`")
        :format(t.where, candidates[1], candidates[k], columns.at(t, row))
    end
  end
  return candidates[1]
end

local function from_column(all, name)
  local t = all.from[name]
  local are_names = columns.find_all({ [name] = true }, names.classes)[1] -- of classes, whatever they look like
  return { values = are_names and t.text[name] or all.columns[name], base = 0, where = t.where, lines = t.lines }
end

--- From the column that looks like one of labels.
local function guess_column(all, origin, members)
  local candidates = columns.find_all(all.columns, names.labels)
  if not candidates[1] then candidates = columns.find_all(all.columns, names.classes) end
  if not candidates[1] then
    return nil, ("data: %s: no labels found: name a file or a column with `labels` (columns: %s%s)"):format(
      origin, columns.list(all.columns), members)
  end
  local name, message = agree(all, candidates)
  if not name then return nil, message end
  local found = from_column(all, name)
  found.guessed = true
  return found
end

--- From a CSV file, "train64.csv" or "train64.csv:column", whose columns are added to `all`.
local function from_csv(path, column, all, samples)
  local t, message = join.add(all, path, samples)
  if not t then return nil, message end
  local own = { columns = t.columns, from = {} }
  for name in pairs(t.columns) do own.from[name] = t end
  if not column then return guess_column(own, t.where, "") end
  if not own.columns[column] then
    return nil, ("data: %s: there is no column '%s' (columns: %s)"):format(t.where, column, columns.list(own.columns))
  end
  return from_column(own, column)
end

--- From a text: a file, or a column's name.
local function from_text(text, all, samples, members)
  if formats.kind(text) == "npy" then
    local path = join.locate(text, samples)
    local t, message = core.load_npy(path)
    if not t then return nil, message end
    join.warn_of_arrays(path, "its labels", samples)
    return from_tensor(t, 0, path)
  end
  if all.columns[text] then return from_column(all, text) end
  local path, column = columns.split_name(text)
  if column or formats.kind(path) == "csv" then return from_csv(path, column, all, samples) end
  return nil, ("data: labels = '%s' is neither a column nor an .npy or .csv file (columns: %s%s)"):format(text,
    columns.list(all.columns), members)
end

local LABELS = option.kind("a list, a tensor, a file or a column", "table")

local function find(from, all, samples, origin)
  local members = samples.members and "; " .. samples.members or ""
  if type(from) == "string" then return from_text(from, all, samples, members) end
  if from == nil then return guess_column(all, origin, members) end
  if type(from) == "table" and from.stored then return from_tensor(from.stored, 0, from.path) end
  if core.is_tensor(from) then return from_tensor(from, 1, "labels") end
  option.check("data", "labels", from, LABELS)
  return { values = from, base = 1, where = samples.named and origin or "labels", from_files = samples.named }
end

-- -- values to labels ------------------------------------------------------------------------------------------------

--- Says so when two classes are the same number, written in two ways: 1 and 1.0, 7 and 007.
local function warn_of_numbers(classes, where)
  local spelt = {}
  for _, name in ipairs(classes) do
    local number = plain.number(name)
    if number and spelt[number] then
      require("texres").warn(("data: %s: classes '%s' and '%s' are the same number, written in two ways: they are "
        .. "taken for two classes"):format(where, spelt[number], name))
      return
    end
    if number then spelt[number] = name end
  end
end

--- Names to labels; classes nil: all names, sorted.
local function encode(values, classes, found)
  local number, labels = {}, {}
  if not classes then
    classes = {}
    for _, name in ipairs(values) do
      if not number[name] then
        number[name] = true
        classes[#classes + 1] = name
      end
    end
    names.sort(classes)
    warn_of_numbers(classes, found.where)
  end
  for c, name in ipairs(classes) do number[name] = c end
  for i, name in ipairs(values) do
    labels[i] = number[name]
    if not labels[i] then
      return nil, ("data: %s: '%s' is none of the classes %s (%s)"):format(found.where, name,
        table.concat(classes, ", "), columns.at(found, i))
    end
  end
  return labels, classes
end

--- Class names where none were given: the names beside the labels, else the numbers themselves.
local function name_classes(labels, most, found)
  local classes = {}
  for i, label in ipairs(found.names and labels or {}) do classes[label] = found.names[i] end
  for c = 1, most do classes[c] = classes[c] or ("%d"):format(c - 1 + found.base) end
  return classes
end

local function decode(found, classes)
  local labels, most, highest, base = {}, classes and #classes or 65536, 0, found.base
  for i, value in ipairs(found.values) do
    local whole = type(value) == "number" and math.tointeger(value)
    if not whole then
      return nil, plain.format("data: %s: label %s %s is not a whole number", found.where, value, columns.at(found, i))
    end
    if whole < base or whole - base >= most then
      return nil, ("data: %s: label %d %s: classes are %d..%d"):format(found.where, whole, columns.at(found, i), base,
        most - 1 + base)
    end
    labels[i] = whole + 1 - base
    highest = math.max(highest, labels[i])
  end
  return labels, classes or name_classes(labels, highest, found)
end

--- Where some classes are called by numbers that are not their positions (1, 2, 3 or 10, 20 or -1, 1, none): the class
-- of each number, of two that are the same number that which is spelt as it prints; else nil.
local function numbered(classes)
  local class_of, in_place = {}, true
  for c, name in ipairs(classes) do
    local number = plain.number(name)
    number = number and math.tointeger(number) or number
    if number == number and number ~= nil then
      if not class_of[number] or cells.print(number) == name then class_of[number] = c end
      in_place = in_place and number == c - 1
    end
  end
  return not in_place and class_of or nil
end

--- Labels of a table's column that are names of classes called by numbers: labels and classes; nil where they count
-- classes from 0, as arrays always do; nil and a message where they may do either.
local function decode_names(found, classes)
  local is_column = found.base == 0 and not found.from_files and #found.values > 0
  local class_of = classes and is_column and numbered(classes)
  if not class_of then return nil end
  local labels, counted, other = {}, true, nil
  for i, value in ipairs(found.values) do
    local whole = math.tointeger(value) or -1
    labels[i] = class_of[value]
    if not labels[i] then return nil end
    counted = counted and whole >= 0 and whole < #classes
    other = other or labels[i] ~= whole + 1 and i or nil
  end
  if not counted or not other then return labels, classes end
  local first = math.tointeger(found.values[other])
  return nil, ("data: %s: label %d %s may be the class called '%s' or, counted from 0, '%s': leave `classes` out and "
    .. "use set:relabel, or call the classes by words"):format(found.where, first, columns.at(found, other),
    classes[labels[other]], classes[first + 1])
end

--- Says so when labels of an array or of folders and a column of a table that belongs to the same images differ: the
-- rows of the table may be in another order.
local function warn_of_difference(found, all)
  for _, column in ipairs(found.from_files and columns.find_all(all.columns, names.labels) or {}) do
    local row = columns.disagreement(found.values, all.columns[column])
    if row then
      local t = all.from[column]
      require("texres").warn(("data: the labels of %s are taken; column '%s' of %s says something else, first %s: "
        .. "are its rows in the order of the images?"):format(found.where, column, t.where, columns.at(t, row)))
    end
  end
end

--- Adds the column of names that stands beside labels that are numbers, where it says one name for each.
local function add_names(found, all)
  local column = columns.find_all(all.columns, names.classes)[1]
  if not column or type(found.values[1]) ~= "number" then return end
  local t = all.from[column]
  local message = columns.check(t.text[column], "class's name", t)
  if message then return message end
  local row = columns.disagreement(found.values, t.text[column])
  if not row then
    found.names = t.text[column]
    return
  end
  message = ("data: %s: column '%s' calls label %s '%s' %s, and otherwise elsewhere"):format(t.where, column,
    found.values[row], t.text[column][row], columns.at(t, row))
  if found.guessed then return message end
  require("texres").warn(message .. ": its names are not taken")
end

--- Whether the names beside the labels are those of `classes`, one at least.
local function are_named(found, classes)
  local known = lists.set_of(classes or {})
  for _, name in ipairs(found.names or {}) do
    if known[name] then return true end
  end
  return false
end

--- A message when a value is missing, or some are names and some numbers.
local function check(found, classes)
  local values = found.values
  local message = not (classes and type(values[1]) == "string") and columns.check(values, "label", found)
  if message then return message end
  for i, value in ipairs(values) do
    if type(value) ~= type(values[1]) then
      return ("data: %s: label '%s' %s is a %s, the first is a %s"):format(found.where, value, columns.at(found, i),
        type(value), type(values[1]))
    end
  end
end

--- Labels and classes for the samples.
-- @param from path of an .npy or CSV file ("train64.csv" or "train64.csv:column"); the name of a column; { stored =
-- tensor, path = }, which a file held; a list or tensor of the user; or nil: a column that is known
-- @param all the columns that are known (see texres.data.columns), to which those of a CSV file are added
-- @param samples see texres.data.join; members: the arrays of the file as text, for messages; named: whether `from`
-- are names that the reader found itself
-- @param classes list of names, or nil
-- @param origin where the images come from, for messages
-- @return labels, classes | nil, message
return function(from, all, samples, classes, origin)
  local found, message = find(from, all, samples, origin)
  if not found then return nil, message end
  if #found.values ~= samples.count then
    return nil, ("data: %s: %d labels for %d images"):format(found.where, #found.values, samples.count)
  end
  message = check(found, classes) or add_names(found, all)
  if not message then warn_of_difference(found, all) end
  if message then return nil, message end
  if type(found.values[1]) == "string" then return encode(found.values, classes, found) end
  if are_named(found, classes) then return encode(found.names, classes, found) end
  local labels, result = decode_names(found, classes)
  if labels or result then return labels, result end
  return decode(found, classes)
end
