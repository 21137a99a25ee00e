--- What a line in a mill has: frames that come and don't wait, results that have to go somewhere, days without anyone
-- who looks. A source gives frames, a scanner (classifier:scanner) tells what is on them, sinks take the results:
--
--     local line = require "texres".line
--     local source = assert(line.frames("-", { 64, 4096 }, { late = "drop" }))
--     local totals = line.run(classifier:scanner(), source, { sinks = { line.to_file "results.jsonl" } })
--
-- Ctrl-C and SIGTERM end a run when what has come is done; a second one ends it at once. What can't be read is told and
-- passed over. Frames that come faster than they are done wait or are dropped, as `late` says, and are counted.
-- @module texres.line

local core = require "texres.core"
local json = require "texres.json"
local new_sink = require "texres.line.sink"
local option = require "texres.options"
local raise = require "texres.raise"
local terminal = require "texres.terminal"

local line = {}

-- -- sources ----------------------------------------------------------------------------------------------------------

local CHANNELS = option.integer(nil, "[1, 4]")
local SCALE = option.number(1, "(0, 16]") -- pictures are made so many times as large
local LATE = option.choice("wait", { "wait", "drop" })
local ROOM = option.integer(8, "[1, 65536]")

local function is_path(value) return option.PATH.accept(value) end

local FRAMES = { late = LATE, room = ROOM }

local function is_size(value) return math.type(value) == "integer" and value >= 1 end

--- A source of raw frames, bytes one after the other: line.frames(path, {height, width, channels}, {late=, room=}).
-- They are read by a thread of their own while the scanner works. path: a file, a device or a pipe, "-" standard input;
-- channels: 1 by default. A frame whose bytes are all the same is no picture, and bad; a last one that is cut short is
-- told. nil and a message where the path can't be opened.
function line.frames(path, shape, options)
  option.check("line.frames", "path", path, option.PATH)
  if not option.is_list(shape, is_size) or #shape < 2 or #shape > 3 then
    raise("line.frames: shape is %s, wanted {height, width} or {height, width, channels}", option.shown(shape))
  end
  local o = option.read("line.frames", options, FRAMES)
  local open = require "texres.line.frames"
  return open(path, { shape[1], shape[2], shape[3] or 1 }, o.room, o.late == "drop")
end

local FOLDER = {
  late = LATE, room = ROOM, channels = CHANNELS, scale = SCALE, every = option.number(30, "[0.1, inf)"),
  memory = option.kind("a path or false", function(value) return value == false or is_path(value) end),
}

--- A source of the pictures that come into a folder: line.folder(path, {late=, room=, channels=, scale=, every=,
-- memory=}). Each is given once, when it has been closed after writing or moved there, also those that are there
-- already; one that is written again is new. What is done is noted in the file `memory`, so that it stays done after
-- a restart. nil and a message where the folder can't be read, or another process works on it.
function line.folder(path, options)
  option.check("line.folder", "path", path, option.PATH)
  local o = option.read("line.folder", options, FOLDER)
  if o.memory == nil then o.memory = path .. "/.texres-done" end
  o.drop = o.late == "drop"
  return require "texres.line.folder"((path:gsub("(.)/+$", "%1")), o)
end

local FILES = { channels = CHANNELS, scale = SCALE, null = option.switch(false) }

--- A source of files: line.files(paths, {channels=, scale=, null=}). paths: a list, in which a folder stands for the
-- pictures in it and below, and "-" for the lines of standard input; null: these end in a zero byte, as
-- `find -print0` has them.
function line.files(paths, options)
  if not option.is_list(paths, is_path) then
    raise("line.files: paths are %s, wanted a list of paths", option.shown(paths))
  end
  return require "texres.line.list"(paths, option.read("line.files", options, FILES))
end

-- -- sinks ------------------------------------------------------------------------------------------------------------

local SINK = { room = option.integer(10000, "[1, inf)") }
local COMMAND = { room = SINK.room, patience = option.number(30, "(0, inf)") }

local function room_of(where, options) return option.read(where, options, SINK).room end

--- A sink that is standard output: line.to_output{room=}. A slow reader is waited for; one that has gone ends the run.
function line.to_output(options)
  return new_sink({ name = "standard output", open = core.outlet_stdout, waits = true },
    room_of("line.to_output", options))
end

--- A sink that appends lines to a file: line.to_file(path, {room=}). While the disk is full, up to `room` lines are
-- kept (10000; or 16 MB of text), and what comes after them is lost, and counted. A file that was moved away, as logs
-- are, is made anew.
function line.to_file(path, options)
  option.check("line.to_file", "path", path, option.PATH)
  return new_sink({
    name = path, open = function() return core.outlet_file(path) end,
    moved = function(outlet) return not outlet:is_at(path) end,
  }, room_of("line.to_file", options))
end

--- A sink that is the standard input of a command: line.to_command("logger -t texres", {room=, patience=}). One that
-- ends, or takes nothing for `patience` seconds, is told of and started again; what it had not read yet is lost.
function line.to_command(command, options)
  option.check("line.to_command", "command", command, option.PATH)
  local o = option.read("line.to_command", options, COMMAND)
  return new_sink({
    name = command, open = function() return core.outlet_command(command) end, again = true, patience = o.patience,
  }, o.room)
end

-- -- runs -------------------------------------------------------------------------------------------------------------

local function write_json(result) return assert(json.encode(result)) .. "\n" end

local RUN = {
  sinks = option.LIST, write = option.kind("a function", "function", write_json),
  report = option.kind("a function", "function", function(text) io.stderr:write("texres: ", text, "\n") end),
  every = option.kind("a duration, such as 10 or \"5 min\", or false", function(value)
    return value == false or terminal.seconds(value)
  end, 10),
  unwritten = option.choice("keep", { "keep", "end" }), patience = option.number(5, "[0, inf)"),
  last = option.FUNCTION,
}

--- A scanner for the frames of a line-scan camera, which are pieces of one strip: line.strip(scanner). What lies across
-- two frames is one defect, and told when it has ended.
function line.strip(scanner) return require "texres.line.strip"(scanner) end

--- Scans what a source gives until it ends: line.run(scanner, source, options). Options:
--
--     sinks      a list; default: standard output alone
--     write      function(result, frame): the lines of a result, nil for none; default: JSON. What could not be
--                scanned has a `message` and no `defects`
--     last       function(): the lines that come last
--     report     function(text): takes what is told; default: a line on standard error
--     every      (10 s) time from one status to the next; false: none
--     unwritten  "keep": results that can't be written are kept; "end": the run ends
--     patience   (5) seconds that sinks are given to write what is left at the end
--
-- Gives the totals: frames, bad, dropped, delayed, waited and longest (seconds of the delayed), short, defects, lines,
-- lost, seconds, and ended: why before its end, "Ctrl-C", "SIGTERM" or a message; failure: why the source could not be
-- read on; problem: which sink has lost results, or has failed. The source is closed.
function line.run(scanner, source, options)
  local o = option.read("line.run", options, RUN)
  o.every = o.every and terminal.seconds(o.every)
  o.sinks = o.sinks or { line.to_output() }
  return require "texres.line.run"(scanner, source, o)
end

return line
