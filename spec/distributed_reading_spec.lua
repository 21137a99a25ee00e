--- What several processes read before their first step: each image on one of them, with the bits of one process.
local support = require "spec.support"
local tr = require "texres"

local ENV = {
  OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1,
  OMPI_MCA_btl_vader_single_copy_mechanism = "none", TEXRES_NUM_THREADS = 1,
}

local MPIRUN = os.getenv "TEXRES_MPIRUN" or "mpirun" -- that of the library texres was built with
local there = tr.distributed._library() ~= nil and support.run { MPIRUN, "--version" }

-- What each rank runs: arg[1] is a folder with a data set for each rank or for all, arg[2] what to do. `heard` has what
-- each rank tells, in the order of ranks.
local BEGIN = [[
local tr = require "texres"
local core = require "texres.core"
local distributed = tr.distributed
local rank = distributed.rank()
tr.warn = function(message) if rank == 0 then print("warning: " .. message) end end
local function tell(text)
  local job = distributed._job()
  local all = job and job.mpi.texts(text) or { text }
  if rank == 0 then for i, one in ipairs(all) do print(("rank %d: %s"):format(i - 1, one)) end end
end
local function model_of()
  tr.manual_seed(3)
  local nn = tr.nn
  return nn.Sequential {
    nn.Conv2d(1, 4, 3, { padding = 1, bias = false }), nn.BatchNorm(4), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 2),
  }
end
local function trainer_of(options)
  local all = { model = model_of(), epochs = 2, batch = 16, seed = 1, quiet = true }
  for name, value in pairs(options or {}) do all[name] = value end
  return tr.Trainer(all)
end
local function hash_of(trainer)
  local sums = {}
  for name, t in pairs(trainer.model:state_dict()) do sums[#sums + 1] = name .. core.crc32(t:contiguous()) end
  table.sort(sums)
  return ("%08x"):format(core.crc32(table.concat(sums)))
end
local function begins_with(trainer)
  local rows, names = {}, {}
  for name in pairs(trainer.identity) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do rows[i] = name .. "=" .. tostring(trainer.identity[name]) end
  return ("%08x %a %a"):format(core.crc32(table.concat(rows, "\n")), trainer.normalization.mean[1],
    trainer.normalization.std[1])
end
]]

--- What `ranks` ranks print that run this after BEGIN; whether they ended well.
local function job(ranks, source, folder)
  if not tr.distributed._library() then pending "texres is built without MPI" end
  if not there then pending "mpirun is not installed" end
  local words = { "timeout", "-k", "5", "40", MPIRUN, "-n", tostring(ranks), support.lua, "-e", BEGIN .. source }
  local env = { TEXRES_FOLDER = folder }
  for name, value in pairs(ENV) do env[name] = value end
  local ok, output, status = support.run(words, { env = env })
  assert.not_equal(124, status, "it hung: " .. output)
  return output, ok
end

--- A folder of `count` pictures of two classes.
local function pictures(count)
  local folder = support.folder()
  for _, class in ipairs { "good", "hole" } do assert(os.execute(("mkdir %s/%s"):format(folder, class))) end
  for i = 1, count do
    local path = ("%s/%s/%03d.pgm"):format(folder, i % 2 == 0 and "good" or "hole", i)
    local pixels = {}
    for p = 1, 64 do pixels[p] = string.char((i * 37 + p * p * (i % 5 + 1)) % 256) end
    support.write_file(path, "P5 8 8 255\n" .. table.concat(pixels))
  end
  return folder
end

local OPEN = [[local set = assert(tr.data.folder { path = os.getenv "TEXRES_FOLDER", cache = false })
]]

--- What is told alike by each of the ranks, from the lines "rank R: ...".
local function told(output, ranks)
  local one
  for r = 0, ranks - 1 do
    local text = output:match(("rank %d: ([^\n]*)"):format(r))
    assert.is_truthy(text, output)
    assert.equal(one or text, text, output)
    one = text
  end
  return one
end

describe("the ranks of a job", function()
  it("read each image on one of them before the first step, and compare four", function()
    local source = [[
      tr.manual_seed(5)
      local images, labels = tr.rand(200, 8, 8, 1), {}
      for i = 1, 200 do labels[i] = i % 2 + 1 end
      local set = tr.data.tensors { images = images, labels = labels }
      local count, class = 0, getmetatable(set)
      local get = class.get
      class.get = function(self, i) count = count + 1 return get(self, i) end
      local whole, blocks, statistics = 0, 0, class.statistics
      class.statistics = function(self, share)
        if not share then whole = whole + 1 return statistics(self) end
        return statistics(self, function(what, all, read)
          return share(what, all, function(first, last)
            blocks = blocks + last - first + 1
            return read(first, last)
          end)
        end)
      end
      local trainer = trainer_of()
      for event in trainer:run(set) do break end
      tell(("%d %d %d"):format(count, whole, blocks))
    ]]
    for ranks = 2, 3 do
      local output, images, blocks = job(ranks, source), 0, 0
      for own, whole, measured in output:gmatch "rank %d: (%d+) (%d+) (%d+)" do
        assert.equal("0", whole)
        assert.is_true(tonumber(own) <= 200 // ranks + 1 + 4 + 1, output)
        images, blocks = images + own, blocks + measured
      end
      assert.equal(200 + ranks * (4 + 1), images, output) -- the first one tells its size
      assert.equal(13, blocks, output)
    end
  end)

  it("find the identity and the normalization of one process, bit for bit", function()
    local source = OPEN .. [[
      local train, val = set:split { 0.7, 0.3, seed = 1 }
      local trainer = trainer_of()
      trainer:fit(train, val)
      tell(begins_with(trainer) .. " " .. hash_of(trainer))
    ]]
    local folder, one = pictures(75)
    for ranks = 1, 3 do
      local text = told(job(ranks, source, folder), ranks)
      one = one or text
      assert.equal(one, text)
    end
    local alone = support.run_lua
    local _, output = alone(BEGIN .. source, { env = { TEXRES_FOLDER = folder, TEXRES_NUM_THREADS = 1 } })
    assert.equal(one:match "^(.*) ", told(output, 1):match "^(.*) ") -- its weights are those of whole batches
  end)

  it("leave out alike, with bad = 'skip', what can't be read", function()
    local source = [[local set = assert(tr.data.folder { path = os.getenv "TEXRES_FOLDER", cache = false })
      distributed.barrier()
      for _, i in ipairs(rank == 0 and { 3, 40, 41, 74 } or {}) do
        local path = set.meta.path[i]
        assert(os.remove(path:sub(1, 1) == "/" and path or os.getenv "TEXRES_FOLDER" .. "/" .. path))
      end
      distributed.barrier()
      local trainer = trainer_of { bad = "skip" }
      trainer:fit(set, set)
      tell(("%d %d %s %s"):format(#trainer.sets.train, #trainer.sets.val, begins_with(trainer), hash_of(trainer)))
    ]]
    local one
    for ranks = 1, 3 do
      local output = job(ranks, source, pictures(75))
      local text = told(output, ranks)
      assert.is_truthy(text:find "^71 71 ", output)
      assert.is_truthy(output:find("warning: loader: epoch 1: 4 of 75 images could not be read", 1, true), output)
      one = one or text
      assert.equal(one, text)
    end
  end)

  it("train on what is left of a batch when pictures are damaged on the way", function()
    -- of the second epoch the second shard is gone, and all but one image of the last batch
    local source = [==[local set = assert(tr.data.folder { path = os.getenv "TEXRES_FOLDER", cache = false })
      local Ones = tr.nn.Module "Ones"
      function Ones:init() self.one = tr.zeros(1) end
      function Ones:forward(x)
        if self.training then core.no_grad(self.one.fill, self.one, 1) end
        return x
      end
      local net = model_of()
      local model = tr.nn.Sequential { Ones(), net[1], net[2], net[3], net[4], tr.nn.BatchNorm(4), net[5] }
      local trainer = trainer_of { bad = "skip", batch = 64, model = model, keep = "last",
        sync_batch_norm = SYNCHRONIZED }
      local images, mean = {}, model[3].running_mean
      local moved
      for event in trainer:run(set) do
        if event.kind == "step" then images[#images + 1], moved = ("%d"):format(event.images), core.crc32(mean) end
        if event.kind == "epoch" then assert(core.crc32(mean) == moved, "moved by what was passed over") end
        if event.kind == "epoch" and event.epoch == 1 then
          distributed.barrier()
          local order = trainer.running.plan.loader:order(2)
          for place = 33, rank == 0 and 95 or 0 do
            local path = set.meta.path[order[place]]
            assert(os.remove(path:sub(1, 1) == "/" and path or os.getenv "TEXRES_FOLDER" .. "/" .. path))
          end
          distributed.barrier()
        end
      end
      tell(("%s %d %s %d %s"):format(table.concat(images, ","), trainer.steps, model[1].one:item(),
        trainer.history[2].skipped, hash_of(trainer)))
    ]==]
    for _, synchronized in ipairs { "false", "true" } do
      local one
      for ranks = 1, 3 do
        local output = job(ranks, (source:gsub("SYNCHRONIZED", synchronized)), pictures(96))
        local text = told(output, ranks)
        assert.is_truthy(text:find "^64,32,32 3 1.0 63 ", output)
        assert.is_truthy(output:find("warning: loader: epoch 2: 63 of 96 images could not be read", 1, true), output)
        one = one or text
        assert.equal(one, text)
      end
    end
  end)

  it("all raise the message of a picture that one of them can't read, and go on", function()
    local source = [[local set = assert(tr.data.folder { path = os.getenv "TEXRES_FOLDER", cache = false })
      local get, class = getmetatable(set).get, getmetatable(set)
      local broken = 12 -- read by rank 0 alone
      class.get = function(self, i)
        if i == broken and rank == 0 then return nil, "/x/012.pgm: gone" end
        return get(self, i)
      end
      local ok, message = pcall(function() trainer_of { normalize = false }:fit(set, set) end)
      tell(tostring(ok) .. " " .. message)
      broken = 0
      trainer_of():fit(set, set)
      tell "went on"
    ]]
    local output = job(3, source, pictures(75))
    local text = told(output, 3)
    assert.is_truthy(text:find("^false .*Trainer: the training set: /x/012.pgm: gone$"), output)
    assert.is_truthy(output:find "rank 2: went on", output)
  end)

  it("all raise the first message where statistics find damaged pictures", function()
    local folder = support.folder()
    local source = [[local images = tr.rand(100, 4, 4, 1)
      images[70][1][1][1] = 0 / 0
      images[90][1][1][1] = 0 / 0
      local labels = {}
      for i = 1, 100 do labels[i] = i % 2 + 1 end
      local set = tr.data.tensors { images = images, labels = labels }
      local ok, message = pcall(function() trainer_of():fit(set) end)
      tell(tostring(ok) .. " " .. message)
    ]]
    for ranks = 1, 3 do
      local text = told(job(ranks, source, folder), ranks)
      assert.is_truthy(text:find("statistics: image 70: a pixel of channel 1 is NaN", 1, true), text)
    end
  end)

  it("find that one of them has another set before they read it together", function()
    local output = job(2, [[local labels = {}
      for i = 1, 40 do labels[i] = i % 2 + 1 end
      tr.manual_seed(rank)
      local set = tr.data.tensors { images = tr.rand(40, 4, 4, 1), labels = labels }
      local ok, message = pcall(function() trainer_of { normalize = rank == 0 }:fit(set) end)
      tell((message:gsub("\n", " ")))
    ]])
    local text = told(output, 2)
    assert.is_truthy(text:find("rank 1 is about to do something else than rank 0", 1, true), output)
    assert.is_truthy(text:find("normalize: true -> false", 1, true), output)
    assert.is_truthy(text:find("training images: 40, checksum", 1, true), output)
  end)

  it("do not wait for one that failed before it came to read", function()
    local output = job(2, [[local labels = {}
      for i = 1, 40 do labels[i] = i % 2 + 1 end
      local set = tr.data.tensors { images = tr.rand(40, 4, 4, 1), labels = labels }
      local trainer = trainer_of()
      if rank == 1 then trainer.patience = -1 end
      local ok, message = pcall(function() trainer:fit(set) end)
      tell((message:gsub("\n", " ")))
    ]])
    assert.is_truthy(output:find "rank 0: [^\n]*rank 1 failed: [^\n]*patience", output)
    assert.is_truthy(output:find "rank 1: [^\n]*patience", output)
  end)
end)
