--- Runs `texres scan` as at a line for as long as one says, and counts whether everything that was fed came out:
--
--     lua5.4 bench/soak.lua [--seconds 3600] [--rate 56] [--files 4] [--folder DIR] [--threads 1]
--
-- Three processes scan. One takes raw frames of a pipe, each a picture by itself; every 97th is no picture, the last is
-- cut short; its results go to a small disk of their own (tmpfs, where the system lets one mount it), which is full
-- three times for a 24th of the time, and once for a 12th: in an hour that is more than is kept, so that some are lost,
-- and counted. The second takes the same frames as one strip. The third watches a folder, into which pictures come, a
-- few corrupt, hands its results to a command, and is ended (kill -9 and SIGTERM in turn) and started again eight
-- times. The network is not trained: this is about what comes and goes. Told are the memory of the three once a minute
-- (or a tenth of the time), and at the end what was fed and what came out.

local ROOT = (arg[0]:match "^.*/" or "") .. "../"
dofile(ROOT .. "examples/checkout.lua")
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

local function save_network()
  tr.manual_seed(3)
  assert(require("texres.classifier").new({
    model = tr.models.textile { width = 4, head = "conv", classes = 3 }, classes = { "good", "hole", "cut" },
    input = { 64, 64, 1 }, normalization = { mean = 0.5, std = 0.2 },
  }):save(options.folder .. "/net.safetensors"))
end

-- `texres scan` with what DIR, HEIGHT and WIDTH stand for; its number goes to DIR/NAME.pid.
local function scan(name, rest)
  local command = "echo $$ >DIR/NAME.pid; exec %s %sbin/texres scan --model DIR/net.safetensors --threads %d --step 32 "
    .. "--mm-per-pixel 0.1 --format jsonl --every 60 "
  return ("sh -c '%s'"):format((command:format(arg[-1] or "lua5.4", ROOT, options.threads) .. rest)
    :gsub("%u+", { DIR = options.folder, NAME = name, SIZE = ("%dx%d"):format(WIDTH, HEIGHT) }))
end

local SCANS = {
  frames = "--raw SIZE --apart --out DIR/disk/results -",
  strip = "--raw SIZE --to \"cat >>DIR/strip-results\" DIR/strip",
  files = "--watch --to \"cat >>DIR/file-results\" DIR/in",
}

-- -- the whole --------------------------------------------------------------------------------------------------------

local function shell(...) return os.execute((...):format(select(2, ...))) end

local function own(role)
  return ("%s %s --seconds %g --rate %g --files %g --folder %s --role %s"):format(arg[-1] or "lua5.4", arg[0],
    options.seconds, options.rate, options.files, options.folder, role)
end

-- Starts a command in the background.
local function start(name, command)
  shell("(%s) 2>>%s/%s.log &", command, options.folder, name)
  core.pause(0.5)
end

local function pid(name) return math.tointeger(tonumber(read_file(("%s/%s.pid"):format(options.folder, name)))) end

-- Resident kilobytes; 0: it does not run.
local function memory(name)
  local text = read_file(("/proc/%d/status"):format(pid(name) or 0))
  return text:find("lua", 1, true) and tonumber(text:match "VmRSS:%s*(%d+)") or 0
end

-- Fills the disk of the results, or empties it.
local function fill(full)
  local path = options.folder .. "/disk/filler"
  if full then
    shell("head -c 2G /dev/zero >%s 2>/dev/null", path)
  else
    os.remove(path)
  end
end

-- Whether the disk is to be full at a time.
local function is_full_time(now)
  local part = now / options.seconds * 24
  return part >= 20 and part < 22 or part < 20 and part % 6 >= 2 and part % 6 < 3
end

-- What came out: results of how many pictures, how many of them bad, how many results of a picture that had one.
local function count_lines(path)
  local seen, count = {}, { pictures = 0, bad = 0, twice = 0 }
  for text in io.lines(path) do
    local kind, name = text:match '^{"kind":"(%a+)","path":"([^"]*)"'
    if kind == "image" or kind == "bad" then
      local key = seen[name] and "twice" or "pictures"
      count[key] = count[key] + 1
      if not seen[name] and kind == "bad" then count.bad = count.bad + 1 end
      seen[name] = true
    end
  end
  return count
end

local function tell(...)
  print((...):format(select(2, ...)))
  io.stdout:flush()
end

-- Whether the small disk could be mounted.
local function begin()
  shell("mkdir -p %s/in %s/disk && mkfifo %s/strip", options.folder, options.folder, options.folder)
  save_network()
  local mounted = shell("mount -t tmpfs -o size=256m tmpfs %s/disk 2>/dev/null", options.folder)
  tell("the results of the frames go to %s", mounted and "a disk of 256 MB that is full four times"
    or "an ordinary folder: mounting is not allowed here")
  start("strip", scan("strip", SCANS.strip))
  start("frames", own "feed-frames" .. (" | tee %s/strip | "):format(options.folder) .. scan("frames", SCANS.frames))
  start("files", scan("files", SCANS.files))
  start("feed-files", own "feed-files")
  return mounted
end

-- Ends the scanner of files and starts it again; `hard`: with kill -9.
local function restart(hard)
  shell("kill -%s %d", hard and "KILL" or "TERM", pid "files")
  while memory "files" > 0 do core.pause(0.05) end
  start("files", scan("files", SCANS.files))
end

-- Feeds and kills until the time is over. The memory at each look: { name = list of kB }.
local function run(mounted)
  local start_time, looks = core.clock(), { frames = {}, strip = {}, files = {} }
  local ended, full, next_look = 0, false, 0
  local step = math.min(60, options.seconds / 10)
  for name in pairs(looks) do looks[name].step = step end
  while core.clock() - start_time < options.seconds - 2 do
    core.pause(1)
    local now = core.clock() - start_time
    if mounted and is_full_time(now) ~= full then
      full = not full
      fill(full)
    end
    if now > options.seconds / (KILLS + 1) * (ended + 1) then
      ended = ended + 1
      restart(ended % 2 == 1)
    end
    if now >= next_look + step then
      next_look = next_look + step
      for name, list in pairs(looks) do list[#list + 1] = memory(name) end
      local n = #looks.frames
      tell("%5.0f s: frames %d kB, strip %d kB, files %d kB%s", now, looks.frames[n], looks.strip[n], looks.files[n],
        full and "; the disk is full" or "")
    end
  end
  return looks
end

-- Waits for the end of the feeders and of those who read from a pipe, and ends the one of files.
local function finish()
  for _ = 1, 90 do
    if memory "frames" + memory "strip" == 0 and #read_file(options.folder .. "/fed-files") > 0 then break end
    core.pause(1)
  end
  core.pause(3) -- the last files
  shell("kill -TERM %d", pid "files")
  for _ = 1, 30 do
    if memory "files" == 0 then break end
    core.pause(1)
  end
end

local function fed(name)
  local count, bad = read_file(options.folder .. "/fed-" .. name):match "(%d+) (%d+)"
  return math.tointeger(tonumber(count)), math.tointeger(tonumber(bad))
end

local function tell_memory(looks)
  for name, list in pairs(looks) do
    tell("memory of the scanner of %s: %d kB after %.0f s, %d kB at the end, at most %d kB", name, list[1], list.step,
      list[#list], math.max(table.unpack(list)))
  end
end

-- Compares what was fed with what came out; whether that is the same.
local function judge()
  local count, flats = fed "frames"
  local files, corrupt = fed "files"
  local log = read_file(options.folder .. "/frames.log")
  local lost = math.tointeger(tonumber(log:match ".*wait, (%d+) lost"))
  local of_frames = count_lines(options.folder .. "/disk/results")
  local of_strip = count_lines(options.folder .. "/strip-results")
  local of_files = count_lines(options.folder .. "/file-results")
  tell("frames: fed %d, %d of them without a picture, and a piece; results of %d, %d of them bad, %d twice; %d lost",
    count, flats, of_frames.pictures, of_frames.bad, of_frames.twice, lost)
  tell("strip: %d bad", of_strip.bad)
  tell("files: fed %d, %d of them corrupt, scanner ended %d times; results of %d, %d of them bad, %d twice", files,
    corrupt, KILLS, of_files.pictures, of_files.bad, of_files.twice)
  tell("log of the frames' scanner, its end:\n%s", log:sub(-1500))
  return count == of_frames.pictures + lost and of_frames.twice == 0 and flats == of_strip.bad
    and files == of_files.pictures and corrupt == of_files.bad and of_files.twice <= KILLS // 2
end

local function main()
  local made = not options.folder
  options.folder = options.folder or os.tmpname() .. "-soak"
  local mounted = begin()
  local looks = run(mounted)
  finish()
  tell_memory(looks)
  local good = judge()
  tell(good and "all that was fed came out, or was told as lost" or "NOT all that was fed came out")
  if mounted then shell("umount %s/disk", options.folder) end
  if made then shell("rm -r %s", options.folder) end
  os.exit(good, true)
end

if options.role then
  roles[options.role]()
else
  main()
end
