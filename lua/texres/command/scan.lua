--- texres scan: what is where on pictures larger than those of the training (classifier:scan).

local arguments = require "texres.command.arguments"
local core = require "texres.core"
local files = require "texres.files"
local option = require "texres.options"
local overlay = require "texres.scan.overlay"
local predict = require "texres.predict"
local scan = require "texres.scan"
local write = require "texres.scan.write"

local FAILED = 1

-- -- where images come from -------------------------------------------------------------------------------------------

--- A picture of a file, so many times as large; nil and a message where it can't be read.
local function read(path, channels, scale)
  local image, message = core.load_image(path, { channels = channels })
  if not image or scale == 1 then return image, message end
  local function scaled(size) return math.max(1, math.floor(size * scale + 0.5)) end
  return core.load_image(path, { channels = channels, size = { scaled(image:size(1)), scaled(image:size(2)) } })
end

--- A function that gives the next picture of the files, { path =, name =, image = } or one with a message; nil after
-- the last.
local function pictures(options, classifier)
  local next_file = predict.each_file(arguments.each_path(options))
  return function()
    local file = next_file()
    if not file or file.message then return file end
    file.image, file.message = read(file.path, classifier.input[3], options.scale)
    return file
  end
end

-- -- where results go -------------------------------------------------------------------------------------------------

--- Writes a line at once, for who waits for it.
local function to_stdout(text)
  local ok, message = io.stdout:write(text, "\n")
  if ok then ok, message = io.stdout:flush() end
  if not ok then error("standard output: " .. message, 0) end
end

--- A function that tells the sink something of a result: tell("defect", defect).
local function teller(options, told, sink)
  local format = write[options.format]
  return function(what, value)
    local text = format[what] and format[what](value, told)
    if text then sink(text) end
  end
end

--- Writes the picture of what was found; true, or nil and a message.
local function write_overlay(file, result, folder, used)
  local path = ("%s/%s.png"):format(folder, arguments.unused_name(file.name, used))
  local ok, message = core.process.make_folder(path:match "^(.*)/")
  if not ok then return nil, message end
  return core.write_png(path, overlay(file.image, result))
end

-- -- the command ------------------------------------------------------------------------------------------------------

local ROWS = {
  { "step", "Pixels from one window to the next; divides the side of a patch. By default about a quarter of it." },
  { "mm_per_pixel", "Millimetres of cloth in a pixel: for areas, places and points." },
  { "threshold", "1 - p(good) from which a cell is hot. By default that of the operating point, else 0.5." },
  { "good", "The class that is no defect. By default that of the operating point, else good." },
  { "mode", "trunk: the network runs once over the picture; patches: patch by patch, slowly. By default trunk, where "
    .. "the network can be split." },
  { "least", "Cells that make a defect." },
}

local function open(options)
  local classifier, path = arguments.open_model(options.model)
  if not classifier then return nil, path end
  local hash, message = files.hash(path)
  if not hash then return nil, message end
  return classifier, hash
end

--- Scans what a source gives; how many could not be read, or nil and a message where an overlay can't be written.
local function scan_all(source, scanner, tell, options)
  local bad, used = 0, {}
  for file in source do
    if file.message then
      bad = bad + 1
      io.stderr:write("texres scan: passed over ", file.message, "\n")
    else
      local result = scanner:frame(file.image, { name = file.path })
      for _, defect in ipairs(result.defects) do tell("defect", defect) end
      tell("result", result)
      if options.overlay then
        local ok, message = write_overlay(file, result, options.overlay, used)
        if not ok then return nil, message end
      end
    end
  end
  return bad
end

return {
  summary = "Tell where on large pictures defects are, and how large.",
  examples = {
    { "scan --model run roll.png", "the defects of a picture, a line for each" },
    { "scan --model run --format jsonl --mm-per-pixel 0.1 roll/", "all pictures of a folder, for programs; points" },
    { "scan --model run --overlay seen/ roll.png", "a picture with a box around each defect, too" },
  },
  describe = function(parser)
    parser:argument("files", "Pictures, folders with pictures, - for paths from standard input."):args "+"
    parser:option("--model", "The folder of a run, or the file of a network (.safetensors)."):argname "MODEL":count "1"
    parser:option("--format", "table, csv or jsonl. By default table."):choices { "table", "csv", "jsonl" }
      :default "table":show_default(false)
    parser:option("--overlay", "Folder for a picture of each with its heat and a box around each defect."):argname "DIR"
    arguments.options(parser, scan.KNOWN, ROWS)
    parser:option("--scale", "Pictures are made so many times as large first, so that threads are as wide as in "
      .. "training; pixels that are told are those of the larger picture. By default 1."):argname "FACTOR":default "1"
      :show_default(false):convert(arguments.rule(option.number(nil, "(0, 16]"), "--scale"))
    parser:flag("--null", "Paths from standard input end in a zero byte, not a line: find -print0."):target "null"
    arguments.threads(parser)
  end,
  run = function(options)
    local classifier, hash = open(options)
    if not classifier then return nil, hash end
    local given = arguments.given(options, scan.KNOWN)
    given.mm_per_pixel = given.mm_per_pixel and given.mm_per_pixel / options.scale
    local scanner = classifier:scanner(given)
    local told = { model = hash, mode = scanner.mode, step = scanner.step }
    local tell = teller(options, told, to_stdout)
    tell("head", nil)
    local bad, message = scan_all(pictures(options, classifier), scanner, tell, options)
    if not bad then return nil, message end
    tell("summary", scanner:summary())
    if bad > 0 then return FAILED end
  end,
}
