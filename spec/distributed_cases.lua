--- What the ranks of a job run that distributed_spec.lua starts: lua5.4 spec/distributed_cases.lua CASE [...]
--
-- A case raises what is wrong, which ends the job; what rank 0 prints is what the spec looks at.
local tr = require "texres"
local core = require "texres.core"
local safetensors = require "texres.safetensors"

local nn, distributed = tr.nn, tr.distributed
local rank, size = distributed.rank(), distributed.size()
local cases = {}

local function say(...) if rank == 0 then print(...) end end

-- -- what ranks say to each other -------------------------------------------------------------------------------------

--- That f(...) raises a text with this pattern in it.
local function refuses(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert(not ok and message:find(pattern), ("wanted '%s', got %s"):format(pattern, message))
end

local function same(t, values) -- of a tensor, flat
  local flat = t:flatten():totable()
  assert(#flat == #values, #flat)
  for i, value in ipairs(values) do assert(flat[i] == value, ("%d: %s, wanted %s"):format(i, flat[i], value)) end
end

function cases.functions(launched)
  assert(distributed.is_launched() == (launched == "launched"))
  distributed.barrier()
  for _, dtype in ipairs { "f32", "f64", "u8", "i64" } do
    local t = tr.tensor({ rank + 1, 2, 3 }, { dtype = dtype })
    local all = distributed.all_gather(t)
    assert(all.dtype == dtype and all:size(1) == size and all:dim() == 2)
    for r = 1, size do same(all[r], { r, 2, 3 }) end
    assert(distributed.broadcast(t, size - 1) == t)
    same(t, { size, 2, 3 })
    t = tr.tensor({ { rank + 1, 1 }, { 1, 0 } }, { dtype = dtype })
    assert(distributed.all_reduce(t) == t and t.dtype == dtype)
    same(t, { size * (size + 1) // 2, size, size, 0 })
    same(distributed.all_gather(tr.tensor(rank, { dtype = dtype })), tr.arange(0, size - 1):totable())
  end
  local base = (tr.arange(0, 5):reshape(2, 3) + rank * 10):transpose(1, 2) -- neither one after the other, nor a copy
  same(distributed.all_gather(base)[size], { (size - 1) * 10, (size - 1) * 10 + 3, (size - 1) * 10 + 1,
    (size - 1) * 10 + 4, (size - 1) * 10 + 2, (size - 1) * 10 + 5 })
  distributed.all_reduce(base)
  local tens = 10 * size * (size - 1) // 2
  same(base, { tens, 3 * size + tens, size + tens, 4 * size + tens, 2 * size + tens, 5 * size + tens })
  local empty = distributed.all_gather(tr.zeros(0, 3))
  assert(empty:size(1) == size and empty:numel() == 0)
  local leaf = tr.ones(2, { requires_grad = true }) -- a weight, whose value changes and which stays a leaf
  distributed.all_reduce(leaf)
  same(leaf, { size, size })
  assert(leaf.is_leaf and leaf.requires_grad and not distributed.all_gather(leaf).requires_grad)
  refuses("broadcast: wanted a tensor, got 3", distributed.broadcast, 3)
  refuses("all_reduce: wanted a tensor, got nil", distributed.all_reduce)
  refuses("all_gather: wanted a tensor, got a table", distributed.all_gather, {})
  refuses("broadcast: .*root", distributed.broadcast, tr.ones(1), size)
  refuses("broadcast: .*root", distributed.broadcast, tr.ones(1), -1)
  refuses("broadcast: .*root", distributed.broadcast, tr.ones(1), 0.5)
  if size > 1 then
    refuses("contiguous", distributed.broadcast, tr.ones(2, 3):transpose(1, 2))
    refuses("expanded", distributed.all_reduce, tr.ones(1):expand(3))
    refuses("distributed_cases.lua:%d+: ", distributed.broadcast, tr.ones(2, 3):transpose(1, 2))
  end
  distributed.barrier() -- nothing of a call that was refused is under way
  say(("functions %d"):format(size))
end

--- CASE warn: of the job, and of what each rank does by itself.
function cases.warn()
  tr.warn "of all"
  distributed._alone(tr.warn, "of each")
end

--- CASE differ KIND: the last rank does something else than the others.
function cases.differ(kind)
  local last = rank == size - 1
  if kind == "size" then
    distributed.all_reduce(tr.ones(last and 3 or 2))
  elseif kind == "shape" then
    distributed.all_reduce(last and tr.ones(2, 3) or tr.ones(3, 2))
  elseif kind == "dtype" then
    distributed.broadcast(last and tr.ones(1, { dtype = "f64" }) or tr.ones(1, { dtype = "i64" }))
  elseif kind == "call" then
    (last and distributed.all_gather or distributed.broadcast)(tr.ones(2))
  elseif kind == "barrier" then
    if not last then distributed.barrier() end
    distributed.broadcast(tr.ones(100000))
  else
    distributed.broadcast(tr.ones(2), last and 1 or 0)
  end
  os.exit(0)
end

-- -- trainings --------------------------------------------------------------------------------------------------------

local function hash(tensors)
  local sums = {}
  for name, t in pairs(tensors) do sums[#sums + 1] = ("%s %08x"):format(name, core.crc32(t:detach():contiguous())) end
  table.sort(sums)
  return ("%08x"):format(core.crc32(table.concat(sums, "\n")))
end

--- Batches of 256 in eight shards, of 120 in two; 1144 training images, five batches an epoch.
local function sets()
  local set = tr.data.fabric { count = 1244, size = 8, seed = 2, sources = 1244 }
  return set:split { 1144 / 1244, 100 / 1244, seed = 1, group = "source" }
end

--- A layer with running values that are no batch norm's: a mean that follows its inputs.
local Follower = nn.Module "Follower"
function Follower:init() self.mean = tr.zeros(1) end
function Follower:forward(x)
  if self.training then
    core.no_grad(function() self.mean:copy_from(self.mean * 0.9 + x:mean():reshape(1) * 0.1) end)
  end
  return x + self.mean
end

local NETS = {
  all = function() -- all that draws random numbers, and what sees all gradients or weights together
    return nn.Sequential {
      nn.Conv2d(1, 6, 3, { padding = 1, bias = false }), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(0.3), nn.MaxPool2d(2),
      nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6),
    }, {
      augment = { "flip", { "noise" }, { "mixup", alpha = 0.4 } }, ema = 0.9, clip_grad_norm = 0.5,
      loss = { "cross_entropy", weight = "balanced", label_smoothing = 0.1 }, optimizer = { "adamw", lr = 0.01 },
      schedule = { "one_cycle" },
    }
  end,
  frozen = function() -- layers that are not trained, and those that compute forward twice; f64
    local first = nn.Sequential { nn.Conv2d(1, 4, 3), nn.BatchNorm(4), nn.ReLU() }
    local net = nn.Sequential {
      first, nn.Conv2d(4, 4, 3, { padding = 1 }), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(4, 4, 3),
      nn.GlobalAvgPool(), nn.Linear(4, 6), checkpoint = 2,
    }
    first:freeze()
    return net:to "f64", { optimizer = { "sgd", lr = 0.05, momentum = 0.9 }, weights = { 1, 2, 1, 3, 1, 1 } }
  end,
  synchronized = function() -- batch norm of the whole batch: after a convolution, by itself, frozen, in a block
    local first = nn.Sequential { nn.Conv2d(1, 4, 3, { bias = false }), nn.BatchNorm(4), nn.ReLU() }
    first:freeze()
    return nn.Sequential {
      first, nn.Dropout(0.2), nn.BatchNorm(4), Follower(),
      nn.Residual {
        nn.Conv2d(4, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), activation = nn.ReLU(),
      },
      nn.GlobalAvgPool(), nn.BatchNorm(4), nn.Linear(4, 6),
    }, { augment = { "flip", { "mixup", alpha = 0.4 } }, sync_batch_norm = true, watch = { every = 3 }, epochs = 2 }
  end,
}

local function options_of(kind, changed)
  tr.manual_seed(5)
  local model, options = NETS[kind]()
  for name, value in pairs { model = model, epochs = 4, batch = 256, seed = 3, quiet = true, watch = false } do
    options[name] = value
  end
  for name, value in pairs(changed or {}) do options[name] = value end
  return options
end

--- What a training came to: weights, and all figures, with all their digits.
local function outcome(trainer)
  local parts = { hash(trainer.model:state_dict()), trainer.steps }
  for _, entry in ipairs(trainer.history) do
    for _, name in ipairs { "loss", "accuracy", "val_loss", "val_accuracy" } do
      parts[#parts + 1] = ("%a"):format(entry[name])
    end
  end
  parts[#parts + 1] = hash { trainer.validation.confusion, trainer.validation.scores }
  return table.concat(parts, " ")
end

--- That all ranks have the same text, which is returned.
local function agreed(text)
  if size == 1 then return text end
  for _, other in ipairs(distributed._job().mpi.texts(text)) do assert(other == text, other .. "\n" .. text) end
  return text
end

--- CASE bits: the outcome of both networks, with one thread and with two.
function cases.bits()
  tr.warn = function() end -- on a busy machine one rank may be slow
  local train, val = sets()
  for threads = 1, 2 do
    tr.set_num_threads(threads)
    for _, kind in ipairs { "all", "frozen", "synchronized" } do
      local trainer = tr.Trainer(options_of(kind))
      local images = 0
      for event in trainer:run(train, val) do images = images + (event.kind == "step" and event.images or 0) end
      assert(images == trainer.epochs * #train, images)
      say(kind, agreed(outcome(trainer)))
    end
  end
end

--- CASE gradient: that of a batch of 130 images, two shards and a rest, against the same from one process.
function cases.gradient()
  local train = sets()
  local positions = {}
  for i = 1, 130 do positions[i] = i end
  train = train:subset(positions)
  tr.manual_seed(5)
  local net = nn.Sequential { nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 6) }
  local before = {}
  for name, t in pairs(net:state_dict()) do before[name] = t:clone() end
  local options = { model = net, epochs = 1, batch = 130, quiet = true, watch = false, normalize = false,
    loss = { "cross_entropy", weight = { 1, 2, 3, 4, 5, 6 } }, optimizer = { "sgd", lr = 1 } }
  tr.Trainer(options):fit(train)
  local lines = {}
  for name, t in pairs(net:state_dict()) do
    for _, value in ipairs((before[name] - t):flatten():totable()) do lines[#lines + 1] = name .. " " .. value end
  end
  table.sort(lines)
  say(agreed(table.concat(lines, "\n")))
end

--- CASE whole: all that a training in f64 gives whose batch norms see whole batches, three shards of 40 each.
function cases.whole()
  local train = sets()
  local positions = {}
  for i = 1, 240 do positions[i] = i end
  train = train:subset(positions)
  tr.manual_seed(5)
  local net = nn.Sequential {
    nn.BatchNorm(1), nn.Conv2d(1, 3, 3, { bias = false }), nn.BatchNorm(3), nn.ReLU(),
    nn.Residual {
      nn.Conv2d(3, 3, 3, { padding = 1, bias = false }), nn.BatchNorm(3, { momentum = 0.3 }), activation = nn.ReLU(),
    },
    nn.Flatten(), nn.Linear(108, 4, { bias = false }), nn.BatchNorm(4), nn.Linear(4, 6),
  }
  net:to "f64"
  tr.Trainer { model = net, epochs = 3, batch = 120, quiet = true, watch = false, sync_batch_norm = true,
    optimizer = { "sgd", lr = 0.05 } }:fit(train)
  local lines = {}
  for name, t in pairs(net:state_dict()) do
    for _, value in ipairs(t:flatten():totable()) do lines[#lines + 1] = ("%s %.17g"):format(name, value) end
  end
  table.sort(lines)
  say(agreed(table.concat(lines, "\n")))
end

--- CASE trials: what a trainer finds out without a run, and what a trial changes, on whole batches.
function cases.trials()
  local train = sets()
  local trainer = tr.Trainer(options_of("all"))
  local found = trainer:find_lr(train, { steps = 10 })
  local parts = { ("%a"):format(found[#found].loss), trainer:recalibrate(train, { batches = 2 }),
    hash(trainer.model:state_dict()) }
  say(agreed(table.concat(parts, " ")))
end

--- CASE buffers: what a model keeps besides batch norm's statistics, in any dtype. What does not move stays to the bit.
function cases.buffers()
  local net = {
    linear = nn.Linear(64, 6), seen = tr.zeros(1, { dtype = "i64" }), mean = tr.zeros(1, { dtype = "f64" }),
  }
  local constant = {
    mask = tr.tensor { 0, -math.huge }, parts = tr.tensor { 1 / 3, 0.1, 0.7 },
    whole = tr.full({ 1 }, 255, { dtype = "u8" }), third = tr.tensor({ 1 / 3 }, { dtype = "f64" }),
    turned = tr.tensor({ { 1, 2, 3 }, { 4, 5, 6 } }):transpose(1, 2),
  }
  for name, t in pairs(constant) do net[name] = t end
  function net:forward(x)
    if self.training then
      core.no_grad(function()
        self.seen:copy_from(self.seen + 1)
        self.mean:copy_from(self.mean + x:size(1))
      end)
    end
    return self.linear(x:reshape(x:size(1), 64))
  end
  local before, model, positions = hash(constant), nn.Module(net), {}
  for i = 1, 71 do positions[i] = i end
  tr.Trainer { model = model, epochs = 3, batch = 71, quiet = true, watch = false }:fit((sets()):subset(positions))
  assert(hash(constant) == before)
  same(model.seen, { 3 }) -- steps, as each shard counts them
  local mean = 3 * (35 ^ 2 + 36 ^ 2) / 71 -- of shards of 35 and 36 images, by their images
  assert(math.abs(model.mean:item() - mean) < 1e-4, model.mean:item())
  agreed(hash(model:state_dict()))
  say "buffers"
end

--- CASE astray KIND: shards, or ranks, whose batch norms are not those of the others.
function cases.astray(kind)
  local train = sets()
  local net = { first = nn.BatchNorm(1), second = nn.BatchNorm(1), linear = nn.Linear(64, 6) }
  local calls = 0
  function net:forward(x)
    calls = calls + (self.training and 1 or 0)
    if kind == "coroutine" and self.training then
      local inner = coroutine.wrap(function() return self.first(x) end)
      return self.linear(inner():reshape(x:size(1), 64))
    end
    local other = self.training and (kind == "shards" and calls == 2 or kind == "rank" and rank == 1)
    x = (other and self.second or self.first)(x)
    if self.training and kind == "more" and rank == 1 then x = self.second(x) end
    return self.linear(x:reshape(x:size(1), 64))
  end
  tr.Trainer {
    model = nn.Module(net), epochs = 1, batch = 256, quiet = true, watch = false, sync_batch_norm = true,
  }:fit(train)
end

--- CASE anew: a model that puts another tensor in the place of a buffer.
function cases.anew()
  local net = { linear = nn.Linear(64, 6), seen = tr.zeros(1) }
  function net:forward(x)
    if self.training then self.seen = self.seen + 1 end
    return self.linear(x:reshape(x:size(1), 64))
  end
  tr.Trainer { model = nn.Module(net), epochs = 1, batch = 256, quiet = true, watch = false }:fit((sets()))
end

--- CASE train FOLDER EPOCHS: writes a run into the folder, and goes on with one that is there.
function cases.train(folder, epochs)
  local train, val = sets()
  local trainer = tr.Trainer(options_of("all", {
    dir = folder, epochs = math.tointeger(epochs), resume = true, schedule = "constant", save_every = "1 ms",
    watch = true, quiet = false,
  }))
  tr.warn "told once"
  trainer:fit(train, val)
  assert(trainer.dir == folder)
  local kept = assert(safetensors.load(folder .. "/best.safetensors")) -- rank 0 has written it
  for name, t in pairs(trainer.model:state_dict()) do assert(hash { kept[name] } == hash { t }, name) end
  say(agreed(outcome(trainer)))
end

--- CASE samples: which images the ranks have seen in an epoch, by a pixel that tells.
function cases.samples()
  local count = 301
  local images = (tr.arange(1, count) / 512):reshape(count, 1, 1, 1):expand(count, 2, 2, 1):contiguous()
  local labels = tr.arange(1, count):to "i64"
  for i = 1, count do labels[i] = i % 2 + 1 end
  local set = tr.data.tensors { images = images, labels = labels, classes = { "a", "b" } }
  local seen, eye = {}, { linear = nn.Linear(4, 2) }
  function eye:forward(x)
    if self.training then
      for _, value in ipairs(x:detach():slice(2, 1, 1):slice(3, 1, 1):flatten():totable()) do
        seen[#seen + 1] = ("%d"):format(math.floor(value * 512 + 0.5))
      end
    end
    return self.linear(x:reshape(x:size(1), 4))
  end
  local trainer = tr.Trainer {
    model = nn.Module(eye), epochs = 1, batch = 128, quiet = true, watch = false, normalize = false,
  }
  trainer:fit(set)
  local all = {}
  for _, text in ipairs(distributed._job().mpi.texts(table.concat(seen, " "))) do
    for number in text:gmatch "%d+" do all[#all + 1] = math.tointeger(number) end
  end
  table.sort(all)
  assert(#all == count, #all)
  for i, number in ipairs(all) do assert(i == number, number) end
  say("each of " .. count)
end

-- -- faults -----------------------------------------------------------------------------------------------------------

local function own_pid() return io.open("/proc/self/stat"):read "n" end

--- What the last rank does at the third step, or all of them where `rank` is not asked for.
local FAULTS = {
  raise = function() error "the third step" end,
  exit = function() os.exit(1) end,
  leave = function() os.exit(0) end,
  kill = function() os.execute("kill -9 " .. own_pid()) end,
  memory = function()
    local list = {}
    while true do list[#list + 1] = tr.zeros(1 << 22) end
  end,
  lr = function(trainer) trainer:set_lr(0.5) end,
  epochs = function(trainer) trainer.epochs = 7 end,
  freeze = function(trainer) trainer.model[1]:freeze() end,
  stop = function(trainer) trainer:stop() end,
  weights = function(trainer) core.no_grad(function() trainer.model[1].weight:fill(0) end) end,
  interrupt = function() os.execute("kill -TERM " .. own_pid()) end,
  slow = function(trainer)
    local forward = trainer.model.forward
    trainer.model.forward = function(...)
      os.execute "sleep 0.1"
      return forward(...)
    end
  end,
}

--- CASE infinite: image 100 of 300, in a later shard of the first batch, is too large for the network.
function cases.infinite()
  local images = tr.ones(300, 2, 2, 1)
  images[100]:fill(1e25)
  local labels = tr.arange(1, 300):to "i64" % 2 + 1
  tr.Trainer {
    model = nn.Sequential { nn.Lambda(function(x) return x * x end), nn.Flatten(), nn.Linear(4, 2) }, batch = 256,
    quiet = true, normalize = false,
  }:fit(tr.data.tensors { images = images, labels = labels, classes = { "a", "b" } })
end

--- CASE fault KIND FOLDER [pcall]: what the last rank does at its third step, or to what it begins with.
function cases.fault(kind, folder, protected)
  local last = rank == size - 1
  local train, val = sets()
  local options = options_of("all", { dir = folder, save_every = "1 ms" })
  if last and kind == "seed" then options.seed = 77 end
  if last and kind == "data" then train, val = val, train end
  if last and kind == "set" then train = 5 end
  if last and kind == "other weights" then options.model[1].weight:detach():fill(0) end
  local trainer = tr.Trainer(options)
  local ok, message = (protected and pcall or function(f) return true, f() end)(function()
    for event in trainer:run(train, val) do
      if last and event.step == 3 and FAULTS[kind] then FAULTS[kind](trainer) end
      if last and event.step == 3 and kind == "break" then break end
      if kind == "slow" and event.step == 11 then trainer:stop() end
    end
  end)
  local pieces = agreed(("%s %s %d"):format(trainer.interrupted, trainer.stopped, trainer.steps))
  say(ok, message, pieces)
end

cases[arg[1]](table.unpack(arg, 2))
