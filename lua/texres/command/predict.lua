--- texres predict: what pictures show, a line for each (classifier:predict_files).

local arguments = require "texres.command.arguments"
local cells = require "texres.data.cells"
local classes = require "texres.classes"
local core = require "texres.core"
local explain = require "texres.explain"
local files = require "texres.files"
local json = require "texres.json"
local option = require "texres.options"
local plain = require "texres.plain"
local views = require "texres.views"

local FAILED = 1

-- -- how an answer is written -----------------------------------------------------------------------------------------
--
-- Each format has head(shown), a line or nil, and line(answer, shown). `shown`: { classifier =, hash =, width = of the
-- longest name of a class }.

local formats = {}

local function rounded(p) return plain.format("%.6g", p) end

local function class_names(classifier, answer)
  local list = {}
  for c in ipairs(answer.probabilities) do
    list[c] = classifier.classes and classifier.classes[c] or ("%d"):format(c)
  end
  return list
end

local function pad(text, width) return text .. (" "):rep(width - (utf8.len(text) or #text)) end

formats.table = {
  head = function(shown)
    local point = shown.classifier.operating_point
    return ("%s%s  probability  %s%smodel     path"):format(point and "verdict  " or "", pad("class", shown.width),
      point and "defect score  " or "", shown.classifier.novelty and "novelty  unknown  " or "")
  end,
  line = function(answer, shown)
    local verdict = answer.verdict and pad(answer.verdict, 9) or ""
    local score = answer.verdict and plain.format("%12.4f  ", answer.defect_score) or ""
    local novelty = answer.novelty and plain.format("%7.4g  %-7s  ", answer.novelty, answer.unknown and "yes" or "no")
    return plain.format("%s%s  %11s  %s%s%s  %s", verdict, pad(plain.visible_name(answer.class), shown.width),
      plain.percent(answer.probability), score, novelty or "", shown.hash, plain.visible_name(answer.path))
  end,
}

--- The cells of a row of CSV: their titles, or what they hold for an answer.
local function row(answer, shown, titles)
  local list = { titles and "path" or answer.path, titles and "class" or answer.class,
    titles and "probability" or rounded(answer.probability) }
  if answer.verdict then
    list[4], list[5] = titles and "verdict" or answer.verdict, titles and "defect_score" or rounded(answer.defect_score)
  end
  if answer.novelty then
    list[#list + 1] = titles and "novelty" or rounded(answer.novelty)
    list[#list + 1] = titles and "unknown" or tostring(answer.unknown)
  end
  for c, name in ipairs(class_names(shown.classifier, answer)) do
    list[#list + 1] = titles and "p_" .. name or rounded(answer.probabilities[c])
  end
  if shown.heatmaps then list[#list + 1] = titles and "heatmap" or answer.heatmap end
  list[#list + 1] = titles and "model" or shown.hash
  for i, cell in ipairs(list) do list[i] = cells.write(cell) end
  return table.concat(list, ",")
end

formats.csv = {
  line = function(answer, shown)
    local line = row(answer, shown, false)
    if shown.titled then return line end
    shown.titled = true
    return row(answer, shown, true) .. "\n" .. line
  end,
}

formats.jsonl = {
  line = function(answer, shown)
    local told = setmetatable({ probabilities = {}, path = answer.path, class = answer.class, model = shown.hash,
      probability = plain.number(rounded(answer.probability)), verdict = answer.verdict,
      defect_score = answer.verdict and plain.number(rounded(answer.defect_score)), heatmap = answer.heatmap,
      novelty = answer.novelty and plain.number(rounded(answer.novelty)), unknown = answer.unknown,
    }, { __jsonorder = { "path", "class", "probability", "verdict", "defect_score", "novelty", "unknown" } })
    local names = class_names(shown.classifier, answer)
    for c, name in ipairs(names) do told.probabilities[name] = plain.number(rounded(answer.probabilities[c])) end
    setmetatable(told.probabilities, { __jsontype = "object", __jsonorder = names })
    return assert(json.encode(told))
  end,
}

-- -- heat maps --------------------------------------------------------------------------------------------------------

--- Writes where in its image a defect was seen, or the class that it was taken for where none is good; true, or nil and
-- a message.
local function write_heatmap(answer, classifier, folder, used)
  local good = classifier.operating_point and classifier.operating_point.good or classes.GOOD
  local asked = classes.find(classifier.classes, good) and "defect" or nil
  local map = explain.hires_cam(classifier, answer.image, {
    class = asked, good = asked and good, white = answer.white,
  })
  local name = arguments.unused_name(answer.name, used)
  answer.heatmap = ("%s/%s.png"):format(folder, name)
  local ok, message = core.process.make_folder(answer.heatmap:match "^(.*)/")
  if not ok then return nil, message end
  return core.write_png(answer.heatmap, explain.overlay(answer.image, map))
end

-- -- the command ------------------------------------------------------------------------------------------------------

local function open(options)
  local classifier, path = arguments.open_model(options.model)
  if not classifier then return nil, path end
  local hash, message = files.hash(path)
  if not hash then return nil, message end
  local width = #"class"
  for _, name in ipairs(classifier.classes or {}) do
    width = math.max(width, utf8.len(plain.visible_name(name)) or #name)
  end
  return { classifier = classifier, hash = hash, width = width, heatmaps = options.heatmaps }
end

--- Writes a line at once, for who waits for it.
local function write(text)
  local ok, message = io.stdout:write(text, "\n")
  if ok then ok, message = io.stdout:flush() end
  if not ok then error("standard output: " .. message, 0) end
end

return {
  summary = "Tell what pictures show: a line for each.",
  examples = {
    { "predict --model run new/", "all pictures in a folder and below it" },
    { "predict --model run --format csv new/ > answers.csv", "for a spreadsheet; --format jsonl for programs" },
    { "predict --model run --heatmaps why/ one.png two.jpg", "where in each picture a defect was seen" },
    { "ls -t new/*.png | texres predict --model run -", "paths from another program, each answered as it comes" },
  },
  describe = function(parser)
    parser:argument("files", "Pictures, folders with pictures (unlabelled), - for paths from standard input."):args "+"
    parser:option("--model", "The folder of a run, or the file of a network (.safetensors)."):argname "MODEL":count "1"
    parser:option("--format", "table, csv or jsonl. By default table."):choices { "table", "csv", "jsonl" }
      :default "table":show_default(false)
    parser:option("--heatmaps", "Folder for a picture of each image with a heat map over it."):argname "DIR"
    parser:option("--batch", "Pictures at a time. By default 32, of standard input 1."):argname "N"
      :convert(arguments.rule(option.COUNT, "--batch"))
    parser:option("--views", "1, 4 or 8: answers are the mean over the picture turned and mirrored. By default as the "
      .. "operating point was chosen."):argname "N":convert(arguments.rule(views.COUNT, "--views"))
    parser:flag("--null", "Paths from standard input end in a zero byte, not a line: find -print0."):target "null"
    arguments.threads(parser)
  end,
  run = function(options)
    local shown, message = open(options)
    if not shown then return nil, message end
    local format, batch, piped, bad, used = formats[options.format], options.batch, false, 0, {}
    for _, path in ipairs(options.files) do piped = piped or path == "-" end
    if format.head then write(format.head(shown)) end
    for answer in shown.classifier:predict_files(arguments.each_path(options), {
      batch = batch or (piped and 1 or nil), views = options.views,
    }) do
      if not answer.message and options.heatmaps then
        local ok, problem = write_heatmap(answer, shown.classifier, options.heatmaps, used)
        if not ok then return nil, problem end
      end
      if answer.message then
        bad = bad + 1
        io.stderr:write("texres predict: passed over ", answer.message, "\n")
      else
        write(format.line(answer, shown))
      end
    end
    if bad > 0 then return FAILED end
  end,
}
