--- Runs what stands at a line for as long as one says, and counts whether everything that was fed came out:
--
--     lua5.4 bench/soak.lua [--seconds 3600] [--rate 56] [--files 4] [--folder DIR] [--threads 1]
--
-- One process scans raw frames of a pipe, every 97th of which is no picture and the last cut short; its results go to a
-- small disk of their own (tmpfs, where the system lets one mount it), which is full for a third of the time. Another
-- one scans pictures that come into a watched folder, every 11th of which is corrupt, hands its results to a command,
-- and is killed (kill -9) and started again eight times. The network is not trained: this is about what comes and goes.
-- At the end: what was fed and what came out, and the memory of the scanner of frames after the first minute (or a
-- tenth of the time) and at the end.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local core = require "texres.core"
local tr = require "texres"

local parser = require "argparse" ("soak.lua", "Runs frames and files through a scanner for hours, and counts.")
parser:option("--seconds", "How long."):convert(tonumber):default "3600"
parser:option("--rate", "Frames per second."):convert(tonumber):default "56"
parser:option("--files", "Files per second."):convert(tonumber):default "4"
parser:option("--folder", "Where to work; by default a new folder, which is removed at the end."):argname "DIR"
parser:option("--threads", "Threads of each scanner."):convert(tonumber):default "1"
parser:option("--role", "For this script itself.")
local options = parser:parse()

local HEIGHT, WIDTH, FLAT_EVERY, CORRUPT_EVERY, KILLS = 64, 128, 97, 11, 8
local SEED_IMAGES = 24

local function read_file(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a" or ""
end

-- -- what is fed ------------------------------------------------------------------------------------------------------

-- Frames of synthetic fabric, two patches side by side, u8 {HEIGHT,WIDTH,1}.
local function frames()
  local set, list = tr.data.fabric { count = 2 * SEED_IMAGES, size = HEIGHT, seed = 5 }, {}
  for i = 1, SEED_IMAGES do
    list[i] = core.cat({ (set:get(2 * i - 1)), (set:get(2 * i)) }, 2)
    if list[i].dtype ~= "u8" then list[i] = (list[i] * 255):to "u8" end
  end
  return list
end

local function bytes_of(image)
  local list, parts = image:flatten():totable(), {}
  for i = 1, #list, 4096 do parts[#parts + 1] = string.char(table.unpack(list, i, math.min(i + 4095, #list))) end
  return table.concat(parts)
end

-- Calls f(n) for n = 1, 2, ... at a steady rate, until the time is over; how often.
local function paced(rate, f)
  local start, n = core.clock(), 0
  while core.clock() - start < options.seconds do
    n = n + 1
    f(n)
    while core.clock() - start < n / rate do core.pause(math.max(0.001, n / rate - (core.clock() - start))) end
  end
  return n
end

local roles = {}

-- Writes raw frames to standard output, and to DIR/fed how many.
roles["feed-frames"] = function()
  local list, flat, flats = {}, ("\0"):rep(HEIGHT * WIDTH), 0
  for i, image in ipairs(frames()) do list[i] = bytes_of(image) end
  local count = paced(options.rate, function(n)
    local is_flat = n % FLAT_EVERY == 0
    if is_flat then flats = flats + 1 end
    assert(io.stdout:write(is_flat and flat or list[n % #list + 1]))
    io.stdout:flush()
  end)
  io.stdout:write(("x"):rep(100))
  local file <close> = io.open(options.folder .. "/fed-frames", "w")
  file:write(("%d %d\n"):format(count, flats))
end

-- Writes pictures into DIR/in, under another name first, and removes old ones.
roles["feed-files"] = function()
  local folder, list, corrupt = options.folder .. "/in/", {}, 0
  for i, image in ipairs(frames()) do
    assert(core.write_png(options.folder .. "/made.png", image))
    list[i] = read_file(options.folder .. "/made.png")
  end
  local count = paced(options.files, function(n)
    local bytes, name = list[n % #list + 1], ("%07d.png"):format(n)
    if n % CORRUPT_EVERY == 0 then
      corrupt = corrupt + 1
      bytes = n % 2 == 0 and bytes:sub(1, #bytes // 2) or bytes:sub(1, 60) .. ("\255"):rep(40) .. bytes:sub(101)
    end
    local file = assert(io.open(folder .. "." .. name, "wb"))
    file:write(bytes)
    file:close()
    assert(os.rename(folder .. "." .. name, folder .. name))
    os.remove(folder .. ("%07d.png"):format(n - 2000))
  end)
  local file <close> = io.open(options.folder .. "/fed-files", "w")
  file:write(("%d %d\n"):format(count, corrupt))
end

-- -- who scans --------------------------------------------------------------------------------------------------------

local function scanner()
  tr.set_num_threads(options.threads)
  tr.manual_seed(3)
  local net = tr.models.textile { width = 4, head = "conv", classes = 3 }
  return require("texres.classifier").new({
    model = net, classes = { "good", "hole", "cut" }, input = { 64, 64, 1 }, normalization = { mean = 0.5, std = 0.2 },
  }):scanner { mm_per_pixel = 0.1, step = 32 }
end

local function write(result)
  return ("%s\t%s\n"):format(result.name, result.message or #result.defects)
end

local function scan(source, sink)
  local totals = tr.line.run(scanner(), assert(source), { sinks = { sink }, write = write, every = "1 min" })
  io.stderr:write(("frames %d, bad %d, short %d, dropped %d, delayed %d, lost %d, ended %s\n"):format(totals.frames,
    totals.bad, totals.short, totals.dropped, totals.delayed, totals.lost, totals.ended or "by itself"))
end

roles["scan-frames"] = function()
  scan(tr.line.frames("-", { HEIGHT, WIDTH }), tr.line.to_file(options.folder .. "/disk/results", { room = 500000 }))
end

roles["scan-files"] = function()
  scan(tr.line.folder(options.folder .. "/in", { channels = 1 }),
    tr.line.to_command(("cat >>%s/file-results"):format(options.folder)))
end

-- -- the whole --------------------------------------------------------------------------------------------------------

local function shell(...) return os.execute((...):format(select(2, ...))) end

local function own(role)
  return ("%s %s --seconds %g --rate %g --files %g --threads %d --folder %s --role %s"):format(arg[-1] or "lua5.4",
    arg[0], options.seconds, options.rate, options.files, options.threads, options.folder, role)
end

-- Starts a command in the background.
local function start(name, command)
  shell("(%s) 2>>%s/%s.log &", command, options.folder, name)
  core.pause(0.5)
end

local function pid(name) return math.tointeger(tonumber(read_file(("%s/%s.pid"):format(options.folder, name)))) end

local function memory(name)
  local text = read_file(("/proc/%d/status"):format(pid(name) or 0))
  return tonumber(text:match "VmRSS:%s*(%d+)"), tonumber(text:match "VmHWM:%s*(%d+)")
end

local function runs(name)
  return pid(name) ~= nil and read_file(("/proc/%d/cmdline"):format(pid(name))):find("soak", 1, true) ~= nil
end

-- Fills the disk of the results, or empties it.
local function fill(full)
  local path = options.folder .. "/disk/filler"
  if full then
    shell("head -c 1G /dev/zero >%s 2>/dev/null", path)
  else
    os.remove(path)
  end
end

-- What came out: how often each name, and how many lines with a message.
local function count_lines(path)
  local names, lines, bad, twice, distinct = {}, 0, 0, 0, 0
  for text in io.lines(path) do
    local name, told = text:match "^([^\t]*)\t(.*)$"
    if name then
      lines = lines + 1
      if names[name] then twice = twice + 1 else distinct = distinct + 1 end
      if not names[name] and not tonumber(told) then bad = bad + 1 end
      names[name] = true
    end
  end
  return { lines = lines, distinct = distinct, bad = bad, twice = twice }
end

local function tell(...)
  print((...):format(select(2, ...)))
  io.stdout:flush()
end

local function watch_over()
  local start_time = core.clock()
  local mounted = shell("mount -t tmpfs -o size=64m tmpfs %s/disk 2>/dev/null", options.folder)
  tell("the results of the frames go to %s", mounted and "a disk of 64 MB that is full for a third of the time"
    or "an ordinary folder: mounting is not allowed here")
  start("scan-frames", own "feed-frames" .. " | " .. own "scan-frames")
  return start_time, mounted
end

local function main()
  local made = not options.folder
  options.folder = options.folder or os.tmpname() .. "-soak"
  shell("mkdir -p %s/in %s/disk", options.folder, options.folder)
  local start_time, mounted = watch_over()
  start("scan-files", own "scan-files")
  start("feed-files", own "feed-files")
  local first = math.min(60, options.seconds / 10)
  local period, ends = options.seconds / (KILLS + 1), options.seconds + 15
  local killed, full, begun, last = 0, false, nil, nil
  local next_look = start_time + first
  while core.clock() - start_time < ends do
    core.pause(1)
    local now = core.clock() - start_time
    local should_fill = mounted and now < options.seconds * 0.95 and (now // (options.seconds / 12)) % 3 == 1
    if should_fill ~= full then
      full = should_fill
      fill(full)
    end
    if now > period * (killed + 1) and now < options.seconds * 0.95 then
      killed = killed + 1
      shell("kill -9 %d", pid "scan-files")
      core.pause(0.5)
      start("scan-files", own "scan-files")
    end
    if core.clock() >= next_look and now < options.seconds - 2 then
      last = { memory "scan-frames" }
      begun = begun or last
      next_look = next_look + first
      tell("%5.0f s: frames %s kB, files %s kB", now, last[1], (memory "scan-files"))
    end
  end
  shell("kill -TERM %d", pid "scan-files")
  for _ = 1, 60 do
    if not runs "scan-files" and not runs "scan-frames" then break end
    core.pause(1)
  end
  local fed, flats = read_file(options.folder .. "/fed-frames"):match "(%d+) (%d+)"
  local files, corrupt = read_file(options.folder .. "/fed-files"):match "(%d+) (%d+)"
  local of_frames = count_lines(options.folder .. "/disk/results")
  local of_files = count_lines(options.folder .. "/file-results")
  tell("frames: fed %s, %s of them without a picture, and a piece; results %d, %d of them bad, %d twice", fed, flats,
    of_frames.lines, of_frames.bad, of_frames.twice)
  tell("files: fed %s, %s of them corrupt, scanner killed %d times; results of %d, %d of them bad, %d twice", files,
    corrupt, killed, of_files.distinct, of_files.bad, of_files.twice)
  tell("memory of the scanner of frames: %d kB after %.0f s, %d kB at the end, at most %d kB", begun[1], first, last[1],
    last[2])
  local good = tonumber(fed) == of_frames.lines and tonumber(flats) == of_frames.bad and of_frames.twice == 0
    and tonumber(files) == of_files.distinct and tonumber(corrupt) == of_files.bad
  tell(good and "all that was fed came out" or "NOT all that was fed came out")
  tell("log of the frames' scanner, its end:\n%s", read_file(options.folder .. "/scan-frames.log"):sub(-1500))
  if mounted then shell("umount %s/disk", options.folder) end
  if made then shell("rm -r %s", options.folder) end
  os.exit(good, true)
end

if options.role then
  local file = assert(io.open(("%s/%s.pid"):format(options.folder, options.role), "w"))
  file:write(io.open("/proc/self/stat"):read "n")
  file:close()
  roles[options.role]()
else
  main()
end
