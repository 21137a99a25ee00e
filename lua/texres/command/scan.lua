--- texres scan: what is where on pictures larger than those of the training (classifier:scan), on frames of a camera,
-- and on pictures that come into a folder (texres.line).

local arguments = require "texres.command.arguments"
local core = require "texres.core"
local files = require "texres.files"
local line = require "texres.line"
local option = require "texres.options"
local overlay = require "texres.scan.overlay"
local plain = require "texres.plain"
local scan = require "texres.scan"
local threshold = require "texres.scan.threshold"
local write = require "texres.scan.write"

local FAILED, WRONG, INTERRUPTED = 1, 2, 130

-- -- where images come from -------------------------------------------------------------------------------------------

--- WxH or WxHxC, as cameras and ffmpeg say it, as {H,W,C}.
local function raw_shape(text)
  local width, height, channels = (text:match "x.*x" and text or text .. "x1"):match "^(%d+)x(%d+)x(%d+)$"
  width, height, channels = math.tointeger(width), math.tointeger(height), math.tointeger(channels)
  if not width or not height or not channels or width * height * channels == 0 then
    return nil, ("--raw is %s, wanted WIDTHxHEIGHT or WIDTHxHEIGHTxCHANNELS, such as 4096x64"):format(text)
  end
  return { height, width, channels }
end

--- The source that the options name, and what it is called; or nil and a message.
local function open_source(options, classifier)
  local late = { late = options.late, room = options.queue }
  if not options.raw and not options.watch then
    return line.files(options.files, { channels = classifier.input[3], null = options.null,
      scale = options.scale })
  end
  if #options.files ~= 1 then return nil, "--raw and --watch take one path" end
  if options.raw and options.raw[3] ~= classifier.input[3] then
    return nil, ("--raw is frames with %d channels, the network takes %d: ffmpeg has -pix_fmt gray and rgb24"):format(
      options.raw[3], classifier.input[3])
  end
  if options.raw then return line.frames(options.files[1], options.raw, late) end
  late.channels, late.memory, late.scale = classifier.input[3], options.memory, options.scale
  return line.folder(options.files[1], late)
end

--- What can't be asked for together; nil: nothing of it was.
local function wrong_together(options)
  if options.raw and options.watch then return "--raw and --watch are two sources" end
  if options.apart and not options.raw then return "--apart is for --raw" end
  if options.raw and options.scale ~= 1 then return "--scale is for pictures in files" end
  if (options.late or options.queue) and not (options.raw or options.watch) then
    return "--late and --queue are for --raw and --watch"
  end
  if options.memory and not options.watch then return "--memory is for --watch" end
  if options.false_alarms and options.raw and not options.apart then
    return "--false-alarms is for pictures: give --apart, too, where each frame is a picture"
  end
  if options.false_alarms and (options.threshold or options.format or options.overlay) then
    return "--false-alarms chooses a threshold and tells no defects: --threshold, --format and --overlay don't go "
      .. "with it"
  end
  if options.overlay and options.raw and not options.apart then
    return "--overlay is for pictures, not for a strip: give --apart, too, where each frame is a picture"
  end
end

-- -- where results go -------------------------------------------------------------------------------------------------

--- The sinks that the options name. The head of a table is written where nothing stands before it.
local function sinks_of(options, head)
  local list = {}
  if options.out then list[1] = line.to_file(options.out) end
  for _, command in ipairs(options.to) do list[#list + 1] = line.to_command(command) end
  if not list[1] then list[1] = line.to_output() end
  for _, sink in ipairs(list) do
    local begun = sink.name == options.out and (core.file_stamp(options.out) or 0) > 0
    sink.head = head and not begun and head .. "\n" or nil
  end
  return list
end

--- What a format tells of some things, { kind, value } each, as lines; nil where that is nothing.
local function text_of(format, told, things)
  local parts = {}
  for _, thing in ipairs(things) do
    local tell = format[thing[1]]
    parts[#parts + 1] = tell and tell(thing[2], told)
  end
  return parts[1] and table.concat(parts, "\n") .. "\n"
end

--- A result as the things that a format tells of it.
local function things_of(result)
  if result.message then return { { "bad", result } } end
  local things = {}
  for i, defect in ipairs(result.defects) do things[i] = { "defect", defect } end
  if result.height then things[#things + 1] = { "result", result } end -- a piece of a strip is none by itself
  return things
end

--- Writes the picture of what was found; true, or nil and a message.
local function write_overlay(frame, result, folder, used)
  local path = ("%s/%s.png"):format(folder, arguments.unused_name(frame.below or frame.name, used))
  local ok, message = core.process.make_folder(path:match "^(.*)/")
  if not ok then return nil, message end
  return core.write_png(path, overlay(frame.image, result))
end

-- -- the command ------------------------------------------------------------------------------------------------------

local ROWS = {
  { "step", "Pixels from one window to the next; divides the side of a patch. By default about a quarter of it." },
  { "mm_per_pixel", "Millimetres of cloth in a pixel: for areas, places and points." },
  { "threshold", "1 - p(good) from which a cell is hot. By default that of the operating point, else 0.5: both are of "
    .. "single patches, and give large pictures many false alarms; choose one by --false-alarms." },
  { "good", "The class that is no defect. By default that of the operating point, else good." },
  { "mode", "trunk: the network runs once over the picture; patches: patch by patch, slowly. By default trunk, where "
    .. "the network can be split." },
  { "unknown", "After texres novelty: the novelty from which cells without a known defect are told as unknown. By "
    .. "default the one that was chosen there with --mode patches; with trunk, where windows lie farther, none: "
    .. "--false-alarms chooses one." },
  { "least", "Cells that make a defect." },
}

local function open(options)
  local classifier, path = arguments.open_model(options.model)
  if not classifier then return nil, path end
  local hash, message = files.hash(path)
  if not hash then return nil, message end
  return classifier, hash
end

local function report(text) io.stderr:write("texres scan: ", plain.visible(text), "\n") end

--- The functions for line.run that choose a threshold: one that takes results, and one that tells it at the end; where
-- there is none, `fail` is given why.
local function chooser(options, fail)
  local results = {}
  return function(result)
    if result.heat then results[#results + 1] = { heat = result.heat, novelty = result.novelty } end
  end, function()
    if not results[1] then return end
    local chosen, message = threshold.choose(results, options.false_alarms, options.least)
    if not chosen then return fail(message) end
    return tostring(chosen) .. "\n"
  end
end

--- Scans what a source gives, and tells it: the totals of line.run, with `unwritten`, how many overlays could not be
-- written.
local function scan_all(source, scanner, told, options)
  local format, used, unwritten = write[options.format or "table"], {}, 0
  local function write_result(result, frame)
    if options.overlay and not result.message then
      local ok, message = write_overlay(frame, result, options.overlay, used)
      if not ok then
        report(message)
        unwritten = unwritten + 1
      end
    end
    return text_of(format, told, things_of(result))
  end
  local function last()
    local ended, sum = scanner:finish()
    local things = things_of { defects = ended }
    things[#things + 1] = { "summary", sum }
    return text_of(format, told, things)
  end
  local problem
  if options.false_alarms then
    write_result, last = chooser(options, function(message) problem = message end)
  end
  local endless = options.raw or options.watch
  local totals = line.run(options.raw and not options.apart and line.strip(scanner) or scanner, source, {
    sinks = sinks_of(options, not options.false_alarms and format.head and format.head(told)), write = write_result,
    last = last, report = report, every = options.every or endless and 10 or false, unwritten = options.unwritten,
  })
  if problem then report(problem) end
  totals.problem = totals.problem or problem
  totals.unwritten = unwritten
  return totals
end

--- The exit status. What a camera sent badly was told, and is no failure of the run.
local function status_of(totals, options)
  if totals.ended == "Ctrl-C" then return INTERRUPTED end
  if totals.ended and totals.ended ~= "SIGTERM" or totals.failure then return FAILED end
  local bad = not (options.raw or options.watch) and totals.bad or 0
  if totals.lost + totals.unwritten + bad > 0 or totals.problem then return FAILED end
end

return {
  summary = "Tell where on large pictures defects are, and how large.",
  examples = {
    { "scan --model run roll.png", "the defects of a picture, a line for each" },
    { "scan --model run --format jsonl --mm-per-pixel 0.1 roll/", "all pictures of a folder, for programs; points" },
    { "scan --model run --overlay seen/ roll.png", "a picture with a box around each defect, too" },
    { "scan --model run --watch --out defects.csv --format csv in/", "each picture that comes into a folder, once" },
    { "scan --model run --false-alarms 0.5 good/", "the threshold at which every other picture of good cloth has one" },
    { "camera | texres scan --model run --raw 4096x64 --late drop -",
      "an endless strip; frames that come too fast are dropped and counted" },
  },
  describe = function(parser)
    parser:argument("files", "Pictures, folders with pictures, - for paths from standard input; with --raw a "
      .. "pipe, - for standard input; with --watch a folder."):args "+"
    parser:option("--model", "The folder of a run, or the file of a network (.safetensors)."):argname "MODEL":count "1"
    parser:option("--format", "table, csv or jsonl. By default table."):choices { "table", "csv", "jsonl" }
    parser:option("--overlay", "Folder for a picture of each with its heat and a box around each defect."):argname "DIR"
    arguments.options(parser, scan.KNOWN, ROWS)
    parser:option("--false-alarms", "Choose the threshold in place of telling defects: the files are pictures of good "
      .. "cloth, and so many false alarms may be on each, in the mean."):argname "N"
      :convert(arguments.rule(threshold.FALSE_ALARMS, "--false-alarms"))
    parser:option("--scale", "Pictures are made so many times as large first, so that threads are as wide as in "
      .. "training; pixels that are told are those of the larger picture. By default 1."):argname "FACTOR":default "1"
      :show_default(false):convert(arguments.rule(option.number(nil, "(0, 16]"), "--scale"))
    parser:flag("--null", "Paths from standard input end in a zero byte, not a line: find -print0."):target "null"
    parser:option("--raw", "Frames of bytes, one after the other, pieces of one strip."):argname "WxH[xC]"
      :convert(raw_shape)
    parser:flag("--apart", "With --raw: each frame is a picture by itself.")
    parser:flag("--watch", "Scan what comes into a folder, each picture once, also after a restart.")
    parser:option("--memory", "With --watch: the file that tells what is done. By default .texres-done in the folder.")
      :argname "FILE"
    parser:option("--late", "Frames that come while the queue is full wait, or are dropped; both are counted. By "
      .. "default wait."):choices { "wait", "drop" }
    parser:option("--queue", "Frames that the queue holds. By default 8."):argname "N"
      :convert(arguments.rule(option.integer(nil, "[1, 65536]"), "--queue"))
    parser:option("--out", "File to which results are appended, in place of standard output."):argname "FILE"
    parser:option("--to", "Command that gets results on its standard input, also several."):argname "COMMAND":count "*"
    parser:option("--unwritten", "Results that can't be written, as the disk is full: keep (10000 of them or 16 "
      .. "MB, and lose what comes after these), or end. By default keep."):choices { "keep", "end" }
    parser:option("--every", "Seconds from one status to the next. By default 10 with --raw and --watch, else none.")
      :argname "SECONDS":convert(arguments.rule(option.number(nil, "(0, inf)"), "--every"))
    arguments.threads(parser)
  end,
  run = function(options)
    local wrong = wrong_together(options)
    if wrong then return WRONG, wrong end
    local classifier, hash = open(options)
    if not classifier then return nil, hash end
    local given = arguments.given(options, scan.KNOWN)
    given.mm_per_pixel = given.mm_per_pixel and given.mm_per_pixel / options.scale
    local scanner = classifier:scanner(given)
    local told = { model = hash, mode = scanner.mode, step = scanner.step, novelty = classifier.novelty ~= nil }
    local source, message = open_source(options, classifier)
    if not source then return nil, message end
    return status_of(scan_all(source, scanner, told, options), options)
  end,
}
