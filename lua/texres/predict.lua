--- What pictures in files show, one after the other, as a trained network is used:
--
--     for answer in classifier:predict_files { "new/", "one.png" } do
--       print(answer.path, answer.message or answer.verdict or answer.class)
--     end
--
-- Paths come as a list or from a function that gives the next one (io.lines "list.txt"), nil after the last; a folder
-- stands for the pictures in it and below. Each picture is brought to what the model takes: gray or RGB, resized where
-- it has another size, the range of its pixels as in training (texres.input). An answer is what predict gives, with
--
--     path       of the file
--     name       its path below the folder that was given, or the file's name
--     image      {H,W,C}, as the model takes it
--     white      what white is in `image`, for predict and texres.explain; nil where its type says it
--
-- A file that can't be read does not end the loop: its answer is { path =, name =, message = }, where the message tells
-- the path, too. Answers come in the order of the paths, as soon as a batch is full; with batch = 1 each comes before
-- the next path is asked for.
-- @module texres.predict

local core = require "texres.core"
local input = require "texres.input"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local tree = require "texres.data.tree"
local views = require "texres.views"

local predict = {}

local KNOWN = { batch = option.integer(32, "[1, inf)"), views = views.COUNT }

--- A function that gives the paths one after the other.
local function source_of(paths)
  if type(paths) == "function" then return paths end
  if type(paths) == "string" then paths = { paths } end
  if type(paths) ~= "table" then
    raise("predict_files: the paths are %s, wanted a path, a list or a function", option.shown(paths))
  end
  local at = 0
  return function()
    at = at + 1
    return paths[at]
  end
end

--- A function that gives the next file, { path =, name = }, with those of a folder in its place; one with a message is
-- a path that can't be followed. `paths`: a path, a list or a function.
function predict.each_file(paths)
  local waiting, at = {}, 0
  paths = source_of(paths)
  local function open_folder(folder)
    local found, message = tree.pictures(folder)
    if not found then return { path = folder, name = folder, message = plain.visible(message) } end
    waiting, at = {}, 0
    for i, path in ipairs(found) do waiting[i] = { path = path, name = path:sub(#folder + 1):gsub("^/+", "") } end
  end
  return function()
    while true do
      if waiting[at + 1] then
        at = at + 1
        return waiting[at]
      end
      local path = paths()
      if path == nil then return nil end
      option.check("predict_files", "a path", path, option.PATH)
      if core.file_kind(path) ~= "folder" then return { path = path, name = path:match "[^/]*$" } end
      local problem = open_folder((path:gsub("(.)/+$", "%1")))
      if problem then return problem end
    end
  end
end

--- Reads the picture of a file into it; or its message.
local function read(file, takes, told)
  local image, own = takes:read(file.path)
  if not image then
    file.message = plain.visible((own:gsub("^load_image: ", "")))
    return
  end
  file.image, file.white = image, image.dtype ~= "u8" and 1 or nil
  if own and not told.resized then
    told.resized = true
    require("texres").warn(("predict_files: pictures of another size than the model's are resized to %dx%d; the first: "
      .. "%s, %dx%d"):format(image:size(1), image:size(2), file.path, own[1], own[2]))
  end
end

local function same_kind(a, b)
  return a.dtype == b.dtype and a:size(1) == b:size(1) and a:size(2) == b:size(2) and a:size(3) == b:size(3)
end

--- Answers files first..last of a list, whose images are of one kind.
local function answer(classifier, list, first, last, o)
  local images = {}
  for i = first, last do images[#images + 1] = list[i].image:unsqueeze(1) end
  local answers = classifier:predict(core.cat(images, 1), { views = o.views, white = list[first].white })
  for i, prediction in ipairs(answers) do
    for name, value in pairs(list[first + i - 1]) do prediction[name] = value end
    list[first + i - 1] = prediction
  end
end

--- Answers all files of a list that could be read, those of one kind together.
local function answer_all(classifier, list, o)
  local first
  for i, file in ipairs(list) do
    local following = list[i + 1]
    if file.image then
      first = first or i
      if not following or not following.image or not same_kind(file.image, following.image) then
        answer(classifier, list, first, i, o)
        first = nil
      end
    end
  end
  return list
end

--- The loop over files. Options: batch (32), how many are answered together; views, as for predict.
function predict.files(classifier, paths, options)
  local o, told = option.read("predict_files", options, KNOWN), {}
  local takes, next_file = input.of(classifier.model), predict.each_file(paths)
  local answers, at, ended = {}, 0, false
  return function()
    if not answers[at + 1] and not ended then
      local list = {}
      while #list < o.batch and not ended do
        local file = next_file()
        ended = file == nil
        if file and not file.message then read(file, takes, told) end
        list[#list + 1] = file
      end
      answers, at = answer_all(classifier, list, o), 0
    end
    at = at + 1
    return answers[at]
  end
end

return predict
