--- Trees of pictures: a folder per class, or a folder per part of a set with one per class in it.
--
-- What is found is gathered in a table: paths and, in step with them, names of classes and parts (false: of none);
-- classes: all folders that stand for one; wanted: the classes that the user named; direct: whether a picture lies in
-- its class's folder itself; absent: classes without a picture in a part; passed: how many files of each kind were
-- passed over.

local core = require "texres.core"
local plain = require "texres.plain"
local exists = require("texres.files").exists
local formats = require "texres.data.formats"
local names = require "texres.data.names"

local tree = {}

local READABLE = table.concat(formats.suffixes "picture", ", ") .. " are read"

local function is_picture(name) return formats.kind(name) == "picture" end

local function pass_over(found, kind) found.passed[kind] = (found.passed[kind] or 0) + 1 end

--- The stem of the picture that `name` is the mask of: "hole_001" of hole_001_mask.png.
local function masked(name) return name:match "^(.+)[_-][mM][aA][sS][kK]%.[^.]+$" end

--- Appends the pictures in a folder and the folders below it, in order of name, to found.paths; or returns a message.
local function collect(folder, found, depth)
  if depth > 32 then return ("data: %s: folders are nested too deeply"):format(folder) end
  local files, folders = core.list_folder(folder)
  if not files then return folders end
  local stems = {}
  for _, name in ipairs(files) do
    if is_picture(name) then stems[name:match "^(.*)%."] = true end
  end
  for _, name in ipairs(files) do
    if not is_picture(name) then
      pass_over(found, formats.suffix(name))
    elseif stems[masked(name)] then
      pass_over(found, "mask")
    else
      found.paths[#found.paths + 1] = folder .. "/" .. name
    end
  end
  for _, name in ipairs(folders) do
    if names.is_mask(name) then
      pass_over(found, "mask")
    elseif not names.is_rubbish(name) then
      local message = collect(folder .. "/" .. name, found, depth + 1)
      if message then return message end
    end
  end
end

--- Appends the pictures of root/FOLDER/**, all of one class; or returns a message. A part that is not that of all the
-- root may stand below the class: good/train.
local function collect_class(root, folder, found, part)
  local class, before = names.class_of(folder), #found.paths
  local message = collect(root .. "/" .. folder, found, 1)
  if message then return message end
  for i = before + 1, #found.paths do
    local below = found.paths[i]:sub(#root + #folder + 3):match "^([^/]*)/"
    found.names[i] = class
    found.parts[i] = part or below and names.is_part(below) and below or false
    found.direct = found.direct or not below
  end
  local count = #found.paths - before
  if found.wanted[class] or count > 0 or not next(found.wanted) then found.classes[class] = true end
  if count == 0 and part and found.classes[class] then
    found.absent[#found.absent + 1] = ("'%s' in %s"):format(class, part)
  end
end

--- Counts files that stand beside the folders of classes.
local function count_strays(files, found)
  local strays = 0
  for _, name in ipairs(files) do
    if is_picture(name) then
      strays = strays + 1
    elseif formats.kind(name) == "foreign" then
      pass_over(found, formats.suffix(name))
    end
  end
  if strays > 0 then found.passed.stray = (found.passed.stray or 0) + strays end
  return strays
end

--- Appends the pictures of all folders in root; or returns a message.
local function collect_classes(root, files, folders, found, part)
  local before = #found.paths
  local strays = count_strays(files, found)
  for _, folder in ipairs(folders) do
    if names.is_mask(folder) and not found.wanted[folder] then
      pass_over(found, "mask")
    elseif not names.is_rubbish(folder) then
      local message = collect_class(root, folder, found, part)
      if message then return message end
    end
  end
  if part and strays > 0 and #found.paths == before then
    return ("data: %s is named like a part of a set, but holds pictures itself, not a folder per class; if '%s' is a "
      .. "class, name all with `classes`"):format(root, part)
  end
end

--- Folders among `folders` that are parts, not classes; and the others.
local function find_parts(folders, wanted)
  local parts, others = {}, {}
  for _, name in ipairs(folders) do
    if names.is_part(name) and not wanted[name] then
      parts[#parts + 1] = name
    elseif not names.is_mask(name) and not names.is_rubbish(name) then
      others[#others + 1] = name
    end
  end
  return parts, others
end

local function new_found(classes)
  local found = { paths = {}, names = {}, parts = {}, classes = {}, wanted = {}, passed = {}, absent = {} }
  for _, class in ipairs(classes or {}) do found.wanted[class], found.classes[class] = true, true end
  return found
end

--- Folders beside parts are passed over where nothing or little can be meant by them; or a message.
local function pass_over_others(root, parts, others, found)
  local trained = false
  for _, part in ipairs(parts) do trained = trained or part:lower():find "^train" ~= nil end
  for _, name in ipairs(others) do
    local beside = new_found()
    local message = collect(root .. "/" .. name, beside, 1)
    if message then return message end
    if #beside.paths > 0 and not trained then
      return ("data: %s: '%s' holds pictures and stands beside '%s', which is named like a part of a set; name the "
        .. "classes with `classes`"):format(root, name, parts[1])
    end
    if #beside.paths > 0 then found.passed[name .. "/"] = #beside.paths end
  end
end

local function collect_parts(root, parts, found)
  for _, part in ipairs(parts) do
    local below = root .. "/" .. part
    local files, folders = core.list_folder(below)
    if not files then return folders end
    local message = collect_classes(below, files, folders, found, part)
    if message then return message end
  end
end

--- What was passed over, as text: "12 .tif, 3 masks"; nil when nothing was.
local function passed_text(passed)
  local kinds, list = {}, {}
  for kind in pairs(passed) do kinds[#kinds + 1] = kind end
  plain.sort(kinds)
  for i, kind in ipairs(kinds) do
    local what = kind == "mask" and "masks or folders of masks" or kind == "stray" and "pictures in no class's folder"
      or kind == "" and "files without a suffix" or kind:find "/$" and "pictures in " .. kind or "." .. kind
    list[i] = ("%d %s"):format(passed[kind], what)
  end
  return list[1] and ("%s (%s)"):format(table.concat(list, ", "), READABLE)
end

--- How many classes have a picture; and the first of them.
local function count_classes(found)
  local first, count, seen = found.names[1], 0, {}
  for _, class in ipairs(found.names) do
    if not seen[class] then seen[class], count = true, count + 1 end
  end
  return count, first
end

--- The deepest folder that holds a folder with each of the pictures.
local function common_folder(paths)
  local common = paths[1]:match "^(.*/)[^/]*/[^/]*$"
  for _, path in ipairs(paths) do
    while path:sub(1, #common) ~= common do common = common:match "^(.*/)[^/]*/$" end
  end
  return (common:gsub("/$", ""))
end

--- A message where the pictures can't be what the user means: there are none, or they lie a level deeper.
local function check_found(root, found)
  local passed = passed_text(found.passed)
  if #found.paths == 0 then
    return ("data: %s: no pictures in folders below it, one per class%s"):format(root,
      passed and "; passed over: " .. passed or "")
  end
  local count, class = count_classes(found)
  if count == 1 and not found.direct and not found.wanted[class] then
    return ("data: %s: the only folder with pictures, '%s', has them in folders of its own: open %s if these are the "
      .. "classes, or say classes = { \"%s\" }"):format(root, class, common_folder(found.paths), class)
  end
end

--- A message where the folders that stand for classes may be parts: pictures lie a level deeper, and one is called so.
local function check_parts(root, found)
  if found.direct then return nil end
  for _, class in ipairs(found.names) do
    if names.part_in(class) and not found.wanted[class] then
      return ("data: %s: '%s' holds pictures in folders of its own and may be a part of a set: name it %s if it is, or "
        .. "name the classes with `classes`"):format(root, class, names.part_in(class))
    end
  end
end

local function warn_of_found(root, found)
  local warn, passed = require("texres").warn, passed_text(found.passed)
  if passed then warn(("data: %s: passed over %s"):format(root, passed)) end
  if found.absent[1] then warn(("data: %s: no images of %s"):format(root, table.concat(found.absent, ", "))) end
end

--- The masks of pictures: root/masks/PATH for each root/PATH, where there is one for every picture; else nil, which is
-- said where some have one.
function tree.masks(root, paths)
  local masks, bare = {}, nil
  if core.file_kind(root .. "/masks") ~= "folder" then return nil end
  for _, path in ipairs(paths) do
    local mask = path:sub(1, #root + 1) == root .. "/" and root .. "/masks" .. path:sub(#root + 1)
    if mask and exists(mask) then masks[#masks + 1] = mask else bare = bare or path end
  end
  if not bare then return masks end
  if #masks > 0 then
    require("texres").warn(("data: %s/masks: only %d of %d pictures have a mask, %s has none: no masks are taken")
      :format(root, #masks, #paths, bare))
  end
end

--- Reads root/CLASS/** or root/PART/CLASS/**.
-- @param classes the names that the user gave, or nil
-- @return what was found | nil, message
function tree.read(root, classes)
  local beside, below = core.list_folder(root)
  if not beside then return nil, below end
  local found = new_found(classes)
  local parts, others = find_parts(below, found.wanted)
  local message
  if #parts > 0 then
    count_strays(beside, found)
    message = pass_over_others(root, parts, others, found) or collect_parts(root, parts, found)
  else
    message = collect_classes(root, beside, below, found, nil)
  end
  message = message or check_found(root, found) or check_parts(root, found)
  if message then return nil, message end
  found.masks = tree.masks(root, found.paths)
  if found.masks then found.passed.mask = (found.passed.mask or 1) > 1 and found.passed.mask - 1 or nil end
  warn_of_found(root, found)
  return found
end

--- The pictures in a folder and those below it, of whatever class: their paths. Masks, and what a dot hides, are passed
-- over, as by a set; of these, and of pictures that only other programs read, a warning tells. Nil and a message where
-- there are none.
function tree.pictures(folder)
  local found = new_found()
  local message = collect(folder, found, 1)
  if message then return nil, message end
  for kind in pairs(found.passed) do
    if kind ~= "mask" and formats.kind("." .. kind) ~= "foreign" then found.passed[kind] = nil end
  end
  local passed = passed_text(found.passed)
  if #found.paths == 0 then
    return nil, ("%s: there are no pictures in it%s"):format(folder, passed and "; passed over: " .. passed or "")
  end
  if passed then require("texres").warn(("%s: passed over %s"):format(folder, passed)) end
  return found.paths
end

return tree
