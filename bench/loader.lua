--- How fast the loader hands out batches, and how much memory the process holds meanwhile:
--
--     lua5.4 bench/loader.lua [--images 72000] [--seconds 3] [--folder /tmp]
--
-- Writes a float32 file images x 64 x 64 x 1 of synthetic fabric into the folder, opens it memory-mapped, runs shuffled
-- epochs of it with several augmentations and numbers of workers, and removes it. Prints Markdown.

dofile((arg[0]:match "^.*/" or "") .. "../examples/checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("loader.lua", "Measures the loader.")
parser:option("--images", "Images in the file."):convert(tonumber):default "72000"
parser:option("--seconds", "Length of one measurement at most."):convert(tonumber):default "3"
parser:option("--folder", "Where the file is put meanwhile."):default "/tmp"
local options = parser:parse()

local classes = { "good", "color", "cut", "hole", "thread", "metal_contamination" }
local name = ("%s/texres-loader-%d"):format(options.folder, math.random(1 << 40))
local images_path, labels_path = name .. "-X.npy", name .. "-Y.npy"

--- The .npy header of a float32 array {n,64,64,1}, padded to 128 bytes.
local function header(n)
  local text = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 64, 64, 1), }"):format(n)
  return "\x93NUMPY\1\0" .. string.pack("<s2", text .. (" "):rep(117 - #text) .. "\n")
end

local function write_files(n)
  local file = assert(io.open(images_path, "wb"))
  file:write(header(n))
  local part = name .. "-part.npy"
  for first = 1, n, 1000 do
    local set = tr.data.fabric { count = math.min(1000, n - first + 1), seed = first % 5000 }
    assert(tr.save_npy(part, set:images()))
    file:write((assert(io.open(part, "rb")):read "a"):sub(129))
  end
  assert(file:close())
  os.remove(part)
  local labels = {}
  for i = 1, n do labels[i] = (i - 1) % #classes end
  assert(tr.save_npy(labels_path, tr.tensor(labels, { dtype = "i64" })))
end

--- Resident memory of this process in MB: now, and the largest so far.
local function resident()
  local status = assert(io.open "/proc/self/status"):read "a"
  return tonumber(status:match "VmRSS:%s*(%d+)") / 1024, tonumber(status:match "VmHWM:%s*(%d+)") / 1024
end

local augmentations = {
  { "none" },
  { "flip, rotate90", { "flip", "rotate90" } },
  { "flip, rotate90, rotate, brightness, contrast, noise, cutout",
    { "flip", "rotate90", { "rotate", 15 }, { "brightness", 0.2 }, { "contrast", 0.2 }, "noise", "cutout" } },
}

local function measure(set, augment, workers)
  local loader = set:loader { batch = 128, shuffle = true, seed = 1, augment = augment, mean = 0.35, std = 0.14,
    workers = workers }
  local images, start = 0, tr.clock()
  for batch in loader:batches(1) do
    images = images + batch:size(1)
    if tr.clock() - start > options.seconds then break end
  end
  return images / (tr.clock() - start)
end

local function run()
  write_files(options.images)
  local set = assert(tr.data.npy { images = images_path, labels = labels_path, classes = classes })
  print(("%s, a file of %.0f MB, batch 128, shuffled, normalized; resident before: %.0f MB\n"):format(set,
    options.images * 16384 / 1e6, (resident())))
  print "| augmentation | 0 workers | 1 worker | 2 workers | resident after, MB |"
  print "|---|---|---|---|---|"
  for _, row in ipairs(augmentations) do
    local cells = {}
    for workers = 0, 2 do cells[#cells + 1] = ("%.0f images/s"):format(measure(set, row[2], workers)) end
    print(("| %s | %s | %.0f |"):format(row[1], table.concat(cells, " | "), (resident())))
  end
end

local ok, message = xpcall(run, debug.traceback)
os.remove(images_path)
os.remove(labels_path)
if not ok then error(message, 0) end
