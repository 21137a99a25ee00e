--- The names that mean something in a data set: of parts, masks and columns; and class names as names of folders.

local lists = require "texres.data.lists"
local plain = require "texres.plain"

local names = {}

--- Parts of a set, in the order in which people name them.
names.parts = { "train", "training", "val", "valid", "validation", "dev", "test", "testing" }

--- Columns that hold labels (numbers or names), names of classes beside them, paths of pictures, and what several
-- samples belong to.
names.labels = { "indication_value", "label", "labels", "class", "category", "target", "y" }
names.classes = { "indication_type", "class_name", "label_name" }
names.paths = { "path", "file", "filename", "file_name", "image", "image_path", "filepath" }
names.groups = { "source", "group", "photograph", "roll" }

local is_part = lists.set_of(names.parts)
local is_mask = lists.set_of { "mask", "masks", "ground_truth", "groundtruth", "segmentation", "segmentations" }
local is_label = lists.set_of { "targets", "classes", "categories" }
for _, list in ipairs { names.labels, names.classes } do
  for _, name in ipairs(list) do is_label[name] = true end
end

--- A name of a column as it is looked for, whatever its case and the blanks around it: " Label" is label.
function names.bare(name) return name:lower():match "^%s*(.-)%s*$" end

function names.is_part(name) return is_part[name:lower()] or false end

--- The word of a name that names a part, in small letters: train of x_train, train_set, Train-1, train2; or nil.
function names.part_in(name)
  for word in name:gmatch "%a+" do
    if names.is_part(word) then return word:lower() end
  end
end

--- Whether a folder or an array of this name holds masks, not pictures.
function names.is_mask(name) return is_mask[name:lower()] or false end

--- Whether a column of this name holds labels, or the names that belong to them.
function names.is_label(name) return is_label[names.bare(name)] or false end

--- Whether an array of this name holds labels: y_train and test_labels too.
function names.is_label_array(name)
  name = name:lower()
  return names.is_label(name) or name:find "^y_" ~= nil or name:find "_labels?$" ~= nil or name:find "^labels?_" ~= nil
end

--- What archives made by a Mac hold beside the files themselves.
function names.is_rubbish(name) return name == "__MACOSX" end

--- The number that a name of digits stands for, which may have blanks around it; or nil.
local function whole(name)
  local digits = name:match "^%s*(%-?%d+)%s*$"
  return digits and math.tointeger(plain.number(digits))
end

--- Sorts names of classes: whole numbers by their value, then the others by their letters. Returns the list.
function names.sort(list)
  table.sort(list, function(a, b)
    local x, y = whole(a), whole(b)
    if x and y and x ~= y then return x < y end
    if (x == nil) ~= (y == nil) then return x ~= nil end
    return plain.less(a, b)
  end)
  return list
end

-- -- classes as folders ----------------------------------------------------------------------------------------------
--
-- A class is written to a folder of its name. Characters that a folder's name can't have, a dot at the front (such
-- files are hidden) and the first letter of a name that would mean something else are written as %XX: n/a is n%2Fa.

local function escape(letter) return ("%%%02X"):format(letter:byte()) end

function names.folder_of(class)
  local folder = class:gsub("%%(%x%x)", "%%25%1"):gsub("[\0\1-\31\127/]", escape):gsub("^%.", escape)
  if names.is_part(folder) or names.is_mask(folder) or names.is_rubbish(folder) or folder == "index.csv" then
    folder = folder:gsub("^.", escape)
  end
  return folder
end

--- The class that a folder stands for. A folder that `folder_of` would not have named so is a class of its own name.
function names.class_of(folder)
  local class = folder:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  return names.folder_of(class) == folder and class or folder
end

return names
