--- Lets allocations of common work fail, one after the other, until the work gets through.
--
--     LD_PRELOAD=build/oom.so lua5.4 tools/oom.lua build [NAME ...]      (`make oom`; default: all works below)
--
-- Once only that allocation fails, once all after it do as well. Where Lua collects garbage and tries again, or
-- something can do without, the work may succeed; else it must end with an error, or nil and a message, that says
-- memory. After that the same work must succeed, the memory of all tensors must be back, and, once everything was
-- collected, no block of the C heap may be left over. What is held on purpose (caches, threads) is warmed up first.
--
-- Which ones fail: each place that allocates (tools/oom.c says what that is), when it is met for the first time, the
-- fourth, the sixteenth, and so on; works count together, so that what they share is tried once. A work with a `stride`
-- passes over as many allocations after each that has failed. That takes less than a minute. OOM_EVERY=1 makes every
-- single allocation fail instead: half an hour or more, most of it the trainer.

local build = arg[1]
local every = os.getenv "OOM_EVERY" == "1"
local oom = assert(package.loadlib(build .. "/oom.so", "luaopen_oom"))()
local texres = require "texres"
local core = require "texres.core"
local nn = texres.nn

local function path(name) return build .. "/oom/" .. name end

-- -- works: each a function that raises, or returns nil and a message, or something true ------------------------------

local function small_net()
  return nn.Sequential {
    nn.Conv2d(1, 4, 3, { padding = 1, stride = 2, bias = false }), nn.BatchNorm(4), nn.ReLU(),
    nn.Residual { nn.Conv2d(4, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4) },
    nn.GlobalAvgPool(), nn.Linear(4, 3),
  }
end

local net = small_net()
local optimizer = texres.optim.AdamW(net, { lr = 1e-3 })
local labels = texres.tensor({ 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3 }, { dtype = "i64" })
local images = texres.rand(12, 16, 16, 1)
local set = texres.data.tensors { images = images, labels = labels, classes = { "good", "cut", "hole" } }

local function save()
  return texres.save(path "net.safetensors", { model = net, classes = set.classes, input = { 16, 16, 1 } })
end

assert(save())
assert(texres.save_npy(path "x.npy", images))
assert(set:save_folder(path "set"))
assert(texres.write_png(path "x.png", images[1]))

assert(set:save_folder(path "damaged"))
local damaged = assert(texres.data.folder { path = path "damaged", cache = false })
assert(io.open(damaged.meta.path[5], "w")):close()
texres.warn = function() end

local line = texres.line
local raw = assert(io.open(path "frames", "w"))
raw:write(("frames of a camera, "):rep(3))
raw:close()
os.execute("mkdir -p " .. path "watched")
assert(texres.write_png(path "watched/x.png", images[1]))

--- Scans what a source gives, into a sink: true where each of so many frames is out, or nil and what was told.
local function run_line(count, sink, opened, message)
  if not opened then return nil, message end
  local source <close> = opened
  local told = {}
  local scanner = { frame = function(_, image, about)
    if count == 1 then source:stop() end
    return { name = about.name, mean = image:to("f32"):mean():item() }
  end }
  local totals = line.run(scanner, source, { sinks = { sink }, every = false, report = function(text)
    told[#told + 1] = text
  end })
  if totals.frames == count and totals.bad + totals.lost == 0 and not totals.problem then return true end
  return nil, table.concat(told, "; ")
end

local networks = dofile "spec/quantized_cases.lua"
local bytes_net, bytes_tensors = networks.find "a small residual network"

local works = {
  { "tensors", function()
    local t = texres.rand(300, 200)
    return ((t * 2 + 1):transpose(1, 2):contiguous():sum(1) - texres.cat({ t, t }, 1):mean()):sort() ~= nil
  end },
  { "step", function()
    net:train()
    local loss = nn.functional.cross_entropy(net(images), labels)
    optimizer:zero_grad()
    loss:backward()
    optimizer:step()
    return true
  end },
  { "print", function() return tostring(images) end },
  { "function", function()
    local double = texres.Function {
      forward = function(_, x) return x * 2 end, backward = function(_, dy) return dy * 2 end,
    }
    double(nn.Parameter(texres.ones(3))):sum():backward()
    return true
  end },
  { "checkpoint", function()
    local deep = nn.Sequential { nn.Linear(4, 4), nn.BatchNorm(4), nn.Dropout(), nn.Linear(4, 2), checkpoint = true }
    deep(texres.ones(3, 4)):sum():backward()
    return deep[1].weight.grad ~= nil
  end },
  { "raising", function()
    local y = texres.Function {
      forward = function(_, x) return x * 2 end, backward = function() error(1e300) end,
    }(nn.Parameter(texres.ones(1)))
    local _, raised = pcall(y.backward, y)
    return raised == 1e300, raised
  end },
  { "loader", function()
    local count = 0
    for batch in set:loader({ batch = 4, workers = 2, augment = { "flip", "rotate90" } }):batches(1) do
      count = count + batch:size(1)
    end
    return count == 12 or error("batches were lost: " .. count)
  end },
  { "skip_bad", function()
    local loader, count = damaged:loader { batch = 4, workers = 0, bad = "skip", augment = { { "mixup", p = 1 } } }, 0
    for batch in loader:batches(1) do count = count + batch:size(1) end
    return count == 11 and #loader.skipped == 1 or error("batches were lost: " .. count)
  end },
  { "save", save },
  { "load", function() return texres.load(path "net.safetensors") end },
  { "load_some", function()
    return net:clone():load(path "net.safetensors", { strict = false, map = { ["1.bias"] = "none" } })
  end },
  { "perceptilabs", function() return texres.perceptilabs.read "spec/fixtures/perceptilabs.json" end, stride = 20 },
  { "clone", function() return net:clone() end },
  { "fuse", function() return net:clone():fuse() end },
  { "profile", function() return net:profile(images, { backward = true, repeats = 1 }) end, stride = 20 },
  { "save_clf", function()
    local classifier, message = texres.load(path "net.safetensors")
    if not classifier then return nil, message end
    return classifier:save(path "clf.safetensors")
  end, stride = 20 },
  { "predict", function()
    local classifier, message = texres.load(path "net.safetensors")
    return classifier and classifier:predict(images[1]), message
  end },
  { "onnx", function() return texres.onnx.export(path "net.onnx", net, { input = { 16, 16, 1 } }) end },
  { "import", function() return texres.onnx.import "spec/fixtures/onnx/dense.onnx" end, stride = 20 },
  { "quantized", function() -- one image goes other ways than many
    local program = core.quantized_program(bytes_net, bytes_tensors)
    return program:run(images) and program:run(images:slice(1, 1, 1))
  end },
  { "frames", function()
    return run_line(3, line.to_file(path "results"), line.frames(path "frames", { 4, 5 }))
  end },
  { "watch", function()
    collectgarbage() -- a lock that could not be given back for want of memory even for that goes with its object
    os.remove(path "watched/.texres-done")
    return run_line(1, line.to_command "cat >/dev/null", line.folder(path "watched", { channels = 1 }))
  end },
  { "save_npy", function() return texres.save_npy(path "y.npy", images) end },
  { "load_npy", function() return texres.load_npy(path "x.npy") end },
  { "npy", function() return texres.data.npy { images = path "x.npy", labels = labels } end },
  { "npz", function() return texres.load_npz "spec/fixtures/data/stored.npz" end },
  { "hdf5", function()
    if not texres.hdf5_datasets "spec/fixtures/data/plain.h5" then return true end
    return texres.data.hdf5 { file = "spec/fixtures/data/chunked.h5", dataset = "images", labels = "labels" }
  end },
  { "csv", function() return texres.data.csv { file = path "set/index.csv" } end },
  { "folder", function() return texres.data.folder { path = path "set" } end },
  { "save_folder", function() return set:save_folder(path "other") end },
  { "save_csv", function() return set:save_csv(path "x.csv") end },
  { "write_png", function() return texres.write_png(path "y.png", images[1]) end },
  { "picture", function() return texres.load_image(path "x.png") end },
  { "jpeg", function() return texres.load_image "spec/fixtures/data/smooth.jpg" end },
  { "bmp", function() return texres.load_image "spec/fixtures/data/rgb.bmp" end },
  { "tga", function() return texres.load_image "spec/fixtures/data/rgb.tga" end },
  { "sheet", function() return set:contact_sheet(path "sheet.png") end },
  { "fabric", function() return texres.data.fabric { count = 6, size = 32, seed = 1 } end },
  { "statistics", function() return set:statistics() end },
  { "cache", function() return set:cache() end },
  { "audit", function() return set:audit() end },
  { "trainer", function()
    local trainer = texres.Trainer { model = small_net(), epochs = 1, batch = 4, quiet = true, dir = path "run" }
    return trainer:fit(set, set)
  end, stride = 2000 }, -- last: what the others share with it has failed before; its report alone allocates much
}

-- -- the trial ----------------------------------------------------------------------------------------------------

local faults = 0
local function fault(name, n, what)
  faults = faults + 1
  print(("%s, allocation %d: %s"):format(name, n, what))
end

--- Collects until nothing more comes back: Lua gives the frames of deep calls up by halves.
local function settle()
  local blocks
  repeat
    blocks = oom.blocks()
    collectgarbage()
    texres.trim_memory()
  until oom.blocks() == blocks
  return texres.live_bytes(), blocks
end

--- Does the work with one allocation failing: the first that is due from number `first` on, or that number itself.
-- Returns how many allocations it made, which of them failed (nil: none was due), and the bytes and blocks left over.
local function fail_once(name, work, first, all, itself)
  local bytes, blocks = settle()
  oom.arm(first, all, itself)
  local ok, result, message = pcall(work)
  local count, n = oom.disarm()
  if not (ok and result) then
    local text = ok and message or result
    if type(text) ~= "string" or not text:find "memory" then
      fault(name, n or count, ("says %s"):format(tostring(text):sub(1, 200)))
    end
  end
  if not n then return count end
  ok, result, message = pcall(work)
  if not ok or not result then fault(name, n, "does not recover: " .. tostring(ok and message or result)) end
  result, message = nil, nil -- luacheck: ignore
  local bytes_after, blocks_after = settle()
  return count, n, bytes_after - bytes, blocks_after - blocks
end

--- The same, with what is left over counted as a fault.
local function try_one(name, work, first, all)
  local count, n, bytes, blocks = fail_once(name, work, first, all, every)
  if n and (bytes > 0 or blocks > 0) then -- what is made once and kept is no leak: it does not grow
    local _, again
    _, again, bytes, blocks = fail_once(name, work, n, all, true)
    if again and bytes > 0 then fault(name, n, ("%d bytes of tensors are left over"):format(bytes)) end
    if again and blocks > 0 then fault(name, n, ("%d blocks are left over"):format(blocks)) end
  end
  return count, n
end

--- Tries the allocations of a work from the first to the last; those that fail are at least `stride` apart.
local function try(name, work, stride, all)
  local start, tried = texres.clock(), 0
  for _ = 1, 3 do assert(work()) end
  local count, n = try_one(name, work, 1, all)
  while n do
    tried = tried + 1
    count, n = try_one(name, work, n + stride, all)
  end
  print(("%-12s %5d of %5d allocations failed, %-16s %6.1f s"):format(name, tried, count,
    all and "all from one on" or "one at a time", texres.clock() - start))
end

local wanted = {}
for _, name in ipairs { table.unpack(arg, 2) } do wanted[name] = true end
for _, work in ipairs(works) do
  if next(wanted) == nil or wanted[work[1]] then
    local stride = not every and work.stride or 1
    try(work[1], work[2], stride, false)
    try(work[1], work[2], stride, true)
  end
end
print(("%d faults"):format(faults))
os.exit(faults == 0, true)
