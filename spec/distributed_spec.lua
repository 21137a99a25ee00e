--- Several processes that train as one: mpirun starts them here, and distributed_cases.lua is what they run.
--
-- More ranks than cores are started; the nets are small. Skipped where texres is built without MPI or mpirun is absent.
local core = require "texres.core"
local safetensors = require "texres.safetensors"
local support = require "spec.support"
local tr = require "texres"

local MPIRUN = os.getenv "TEXRES_MPIRUN" or "mpirun" -- that of the library texres was built with
local there = tr.distributed._library() ~= nil and support.run { MPIRUN, "--version" }

-- Open MPI refuses root, and more ranks than cores, unless it is told otherwise; and it warns where a container keeps
-- one process from reading the memory of another.
local ENV = {
  OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1,
  OMPI_MCA_btl_vader_single_copy_mechanism = "none", TEXRES_NUM_THREADS = 1,
}
local SECONDS = 40 -- after which a job that hangs is ended, and its spec fails: none takes that long

--- Runs words as `ranks` ranks: whether they ended well, what they wrote, and the status. Options: env; before: a
-- shell's words before "$@".
local function job(ranks, words, options)
  if not tr.distributed._library() then pending "texres is built without MPI" end
  if not there then pending "mpirun is not installed" end
  local env = {}
  for _, table in ipairs { ENV, options and options.env or {} } do
    for name, value in pairs(table) do env[name] = value end
  end
  local start = { "timeout", "-k", "5", ("%d"):format(SECONDS), MPIRUN, "-n", ("%d"):format(ranks) }
  local began = core.clock()
  local ok, output, status = support.run(table.move(words, 1, #words, #start + 1, start), { env = env })
  assert.is_true(core.clock() - began < SECONDS, "it hung: " .. output)
  return ok, output, status
end

local KILLS = math.tointeger(tonumber(os.getenv "TEXRES_KILLS")) or 3

local function case(ranks, name, ...)
  local ok, output = job(ranks, { support.lua, "spec/distributed_cases.lua", name, ... })
  assert.is_true(ok, output)
  return output
end

--- The same in a process that mpirun did not start.
local function alone(name, ...)
  local ok, output = support.run { support.lua, "spec/distributed_cases.lua", name, ... }
  assert.is_true(ok, output)
  return output
end

describe("what ranks say to each other", function()
  for _, ranks in ipairs { 1, 3 } do
    it(("is the same everywhere: %d of them"):format(ranks), function()
      assert.equal(("functions %d\n"):format(ranks), case(ranks, "functions", "launched"))
    end)
  end

  it("is warned of once, but by each rank of what it does by itself", function()
    local told = case(3, "warn")
    assert.equal(1, select(2, told:gsub("texres: warning: of all\n", "")), told)
    assert.equal(3, select(2, told:gsub("texres: warning: of each\n", "")), told)
  end)

  it("is found to be different", function()
    for _, kind in ipairs { "size", "shape", "dtype", "call", "barrier", "root" } do
      local ok, told = job(3, { support.lua, "spec/distributed_cases.lua", "differ", kind })
      assert.is_false(ok)
      assert.matches("texres: rank %d makes another call than rank %d, or the same one with a tensor", told)
    end
  end)

  it("is not had by ranks that the mpirun of another library has started", function()
    if not tr.distributed._library() then pending "texres is built without MPI" end
    for _, env in ipairs { { PMI_RANK = 1, PMI_SIZE = 2 }, { OMPI_COMM_WORLD_RANK = 0, OMPI_COMM_WORLD_SIZE = 2 },
      { PMIX_RANK = 1 } } do
      env.OMPI_ALLOW_RUN_AS_ROOT, env.OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, 1
      local ok, told = support.run_lua([[print(require "texres".distributed.rank())]], { env = env })
      assert.is_false(ok)
      assert.matches("distributed: this process was started as rank %d[ of2]*, but .* knows of no other", told)
    end
  end)

  it("is nothing in a process that mpirun did not start", function()
    assert.equal("functions 1\n", alone "functions")
  end)
end)

describe("a Trainer on several ranks", function()
  it("comes to the same bits and figures with any number of ranks and of threads", function()
    local wanted = case(1, "bits")
    local one, two = wanted:match "^(all [^\n]+\nfrozen [^\n]+\nsynchronized [^\n]+\n)(.+)$"
    assert.equal(one, two) -- threads
    for _, ranks in ipairs { 2, 3, 4, 8 } do assert.equal(wanted, case(ranks, "bits")) end
  end)

  it("sees each image of an epoch once", function()
    for _, ranks in ipairs { 3, 5 } do assert.equal("each of 301\n", case(ranks, "samples")) end
  end)

  --- That three ranks find the same named values as a process that mpirun did not start.
  local function finds_the_same(name, count, within)
    local function read(text)
      local values = {}
      for key, value in text:gmatch "(%S+) (%S+)\n" do values[#values + 1] = { key, tonumber(value) } end
      return values
    end
    local wanted, found = read(alone(name)), read(case(3, name))
    assert.equal(count, #wanted)
    for i, pair in ipairs(wanted) do
      assert.equal(pair[1], found[i][1])
      assert.is_true(math.abs(pair[2] - found[i][2]) < within, ("%s: %g, %g"):format(pair[1], pair[2], found[i][2]))
    end
  end

  it("has the gradient of the whole batch", function()
    finds_the_same("gradient", 3 * 9 + 3 + 108 * 6 + 6, 2e-6)
  end)

  it("tries rates and measures statistics on the batches that one process has", function()
    assert.equal(alone "trials", case(3, "trials"))
  end)

  it("keeps constants of a model to the bit, and moves other buffers by the mean of the shards", function()
    assert.equal("buffers\n", case(3, "buffers"))
  end)

  it("has the batch norm of the whole batch with sync_batch_norm", function()
    finds_the_same("whole", 4 * (1 + 3 + 3 + 4) + 27 + 81 + 432 + 24 + 6, 1e-10)
  end)

  it("names a buffer that the model assigns anew", function()
    local ok, told = job(2, { support.lua, "spec/distributed_cases.lua", "anew" })
    assert.is_false(ok)
    assert.is_true(told:find("forward of the model assigns seen anew", 1, true) ~= nil, told)
  end)

  it("names a batch norm that is not that of the others", function()
    local kinds = {
      shards = "sync_batch_norm: not all shards go through the same batch norms",
      coroutine = "sync_batch_norm: the model runs a batch norm in a coroutine of its own",
      rank = "sync_batch_norm: rank 1 is at forward of second, of 1 channels, rank 0 at forward of first",
      more = "sync_batch_norm: rank 1 is at forward of second, of 1 channels, rank 0 at the end of its pass",
    }
    for kind, text in pairs(kinds) do
      local ok, told = job(2, { support.lua, "spec/distributed_cases.lua", "astray", kind })
      assert.is_false(ok, kind)
      assert.is_true(told:find(text, 1, true) ~= nil, told)
    end
  end)
end)

local function tensors_of(path)
  local all = {}
  for name, t in pairs(assert(safetensors.load(path))) do all[name] = { t.dtype, t:flatten():totable() } end
  return all
end

describe("the files of a run on several ranks", function()
  local folder = support.folder()

  it("are written by rank 0, which alone tells of warnings and progress", function()
    local told = case(3, "train", folder .. "/whole", "4")
    local _, warnings = told:gsub("told once", "")
    assert.equal(1, warnings)
    local _, epochs = told:gsub("epoch 4/4", "")
    assert.equal(1, epochs, told)
    local _, lines = support.read_file(folder .. "/whole/metrics.csv"):gsub("\n", "")
    assert.equal(5, lines)
    for _, name in ipairs { "best.safetensors", "report.html", "metrics.jsonl", "watch.jsonl", "run.json" } do
      assert.is_true(support.exists(folder .. "/whole/" .. name), name)
    end
  end)

  it("let another number of ranks go on, with the same bits", function()
    local epochs = 0
    for _, ranks in ipairs { 2, 1, 4, 3 } do
      epochs = epochs + 1
      case(ranks, "train", folder .. "/parts", ("%d"):format(epochs))
    end
    for _, name in ipairs { "/last.safetensors", "/best.safetensors" } do
      assert.same(tensors_of(folder .. "/whole" .. name), tensors_of(folder .. "/parts" .. name))
    end
    -- nothing is left to do: each rank has the weights that are kept
    local ended = case(3, "train", folder .. "/parts", "4")
    assert.equal(ended, case(2, "train", folder .. "/parts", "4"))
  end)

  it(("are whole after a kill of any rank at %d moments, none of which leaves a hang"):format(KILLS), function()
    local cut, state, killed = folder .. "/cut", 4321, 0
    local function random()
      state = (state * 1103515245 + 12345) % 2147483648
      return state / 2147483648
    end
    local start = core.clock()
    case(3, "train", cut, "4")
    local seconds = core.clock() - start
    local function check()
      for _, name in ipairs { "/last.safetensors", "/best.safetensors" } do
        assert.same(tensors_of(folder .. "/whole" .. name), tensors_of(cut .. name))
      end
      assert(os.execute("rm -r " .. cut))
    end
    check()
    while killed < KILLS do
      local victim, after = math.floor(3 * random()), seconds * (0.2 + 0.7 * random())
      local ok, told = job(3, { "sh", "-c", [[
        rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; victim=$1; after=$2; shift 2
        if [ $rank = $victim ]; then exec timeout --foreground -s KILL $after "$@"; fi; exec "$@"]], "sh",
        ("%d"):format(victim), ("%.3f"):format(after), support.lua, "spec/distributed_cases.lua", "train", cut, "4" })
      if ok then
        check() -- it ended before it could be killed: the next one begins anew
      else
        if MPIRUN == "mpirun" then -- 124: the rank had just come to its end when the kill was due
          local why = told:find "signal 9" or told:find "Exit code: *137" or told:find "Exit code: *124"
          assert.is_truthy(why, told)
        end -- MPICH says this and that of a kill, or nothing
        assert.is_nil(told:find "stack traceback" or told:find "signal 11", told)
        killed = killed + 1
      end
    end
    case(3, "train", cut, "4")
    check()
  end)
end)

describe("texres train on several ranks", function()
  it("is told by rank 0, and is begun by none before all have looked whether the folder has a run", function()
    local folder = support.folder()
    assert(tr.data.fabric({ count = 120, size = 8, seed = 1, sources = 12 }):save_folder(folder .. "/cloth"))
    local function train(...)
      local late = '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || sleep 0.3; exec "$@"'
      return job(2, { "sh", "-c", late, "sh", support.lua, "bin/texres", "train", folder .. "/cloth", "--groups",
        "index.csv:source", "--out", folder .. "/run", "--folds", "2", "--epochs", "1", "--width", "2", ... })
    end
    local ok, told = train()
    assert.is_true(ok, told)
    for _, line in ipairs { "120 images of 12 groups", "seed 1, fold 2 of 2: ", "network: " } do
      assert.equal(1, select(2, told:gsub(line, "")), told)
    end
    ok, told = train()
    assert.is_false(ok)
    assert.matches("holds a run already", told)
    ok, told = train "--resume"
    assert.is_true(ok, told)
  end)
end)

describe("a fault of one rank", function()
  local BEFORE = { -- what the shell of a rank does first
    memory = "ulimit -v 1200000; ",
    kernels = '[ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" != 2 ] || export TEXRES_ISA=ref; ',
  }

  --- What a job of three says whose last rank has this fault; it has come to its end.
  local function fault(kind, ...)
    local start = core.clock()
    local script = (BEFORE[kind] or "") .. 'exec "$0" spec/distributed_cases.lua fault "$@"'
    local ok, told = job(3, { "sh", "-c", script, support.lua, kind, ... })
    return ok, told, core.clock() - start
  end

  --- That the fault ends all ranks, within seconds, with a message and a checkpoint that is whole.
  local function ends_all(kind, pattern)
    local folder = support.folder() .. "/run"
    local ok, told, seconds = fault(kind, folder)
    assert.is_false(ok, kind)
    assert.matches(pattern, told)
    assert.is_true(seconds < 20, seconds)
    assert(safetensors.load(folder .. "/last.safetensors"))
  end

  it("ends all ranks: an error, os.exit, a kill, no memory", function()
    ends_all("raise", "distributed_cases.lua:%d+: the third step")
    ends_all("exit", "texres: rank 2 has ended with status 1: so do all others")
    ends_all("kill", "signal 9")
    ends_all("memory", "not enough memory")
  end)

  it("ends all ranks where it has left the others alone", function()
    ends_all("leave", "texres: rank 2 has come to its end, but rank %d waits for it")
    ends_all("break", "texres: rank %d makes another call than rank %d")
  end)

  it("is named where it wants something else than the others", function()
    ends_all("lr", "Trainer: lr is 0.5 on rank 2, 0.01 on rank 0: what changes it has to do so on every rank")
    ends_all("epochs", "Trainer: epochs is 7 on rank 2, 4 on rank 0")
    ends_all("freeze", "Trainer: rank 2 trains other parameters than rank 0: what freezes them has to do so on every")
    ends_all("weights", "Trainer: after epoch 1 rank 2 has other weights than rank 0")
  end)

  it("stops all ranks in order where it stops, or is told to", function()
    assert.matches("\ntrue\tnil\tfalse true 3\n$", "\n" .. select(2, fault "stop"))
    local folder = support.folder()
    assert.matches("\ntrue\tnil\ttrue false 4\n$", "\n" .. select(2, fault("interrupt", folder)))
    assert(safetensors.load(folder .. "/last.safetensors"))
  end)

  it("is found before the first step, and raises on every rank, for a script to go on", function()
    local wanted = {
      seed = "rank 2 is about to do something else than rank 0 %(rank 0 %-> rank 2%):\n  seed: 3 %-> 77",
      data = "training images: 1142, checksum %x+ %-> 102, checksum %x+\n  training labels",
      kernels = "\n  kernels: " .. tr.isa() .. " %-> ref",
      set = "rank 2 failed: spec/distributed_cases.lua:%d+: Trainer: the training set is 5, wanted a data set",
      ["other weights"] = "%):\n  weights at the start: checksum %x+ %-> checksum %x+",
    }
    if tr.isa() == "ref" then wanted.kernels = nil end
    for kind, pattern in pairs(wanted) do
      local ok, told = fault(kind, support.folder() .. "/run", "pcall")
      assert.is_true(ok, told)
      assert.matches("^false\tspec/distributed_cases.lua:%d+: Trainer: rank 2 ", told)
      assert.matches(pattern, told)
      assert.matches("\tfalse false 0\n$", told)
    end
  end)

  it("names the image of a shard for which the loss is no number", function()
    local ok, told = job(2, { support.lua, "spec/distributed_cases.lua", "infinite" })
    assert.is_false(ok)
    assert.matches("rank %d of 2: [^\n]*, for image 100 of the training set", told)
  end)

  it("is told where it is slowness", function()
    local _, told = fault("slow", support.folder() .. "/run")
    assert.matches("Trainer: rank 2 is slow: %d+ images/s, where %d+ are usual; others waited up to %d", told)
    local _, count = told:gsub("is slow", "")
    assert.equal(1, count)
  end)
end)
