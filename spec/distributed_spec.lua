--- Several processes that train as one: mpirun starts them here, and distributed_cases.lua is what they run.
--
-- More ranks than cores are started; the nets are small. Skipped where texres is built without MPI or mpirun is absent.
local support = require "spec.support"
local tr = require "texres"

local MPIRUN = "mpirun"
local there = tr.distributed._library() ~= nil and support.run { MPIRUN, "--version" }

-- Open MPI refuses root, and more ranks than cores, unless it is told otherwise; and it warns where a container keeps
-- one process from reading the memory of another.
local ENV = {
  OMPI_ALLOW_RUN_AS_ROOT = 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1, OMPI_MCA_rmaps_base_oversubscribe = 1,
  OMPI_MCA_btl_vader_single_copy_mechanism = "none", TEXRES_NUM_THREADS = 1,
}
local SECONDS = "60" -- after which a job that hangs is ended, and its spec fails: none takes that long

--- Runs words as `ranks` ranks: whether they ended well, what they wrote, and the status. Options: env; before: a
-- shell's words before "$@".
local function job(ranks, words, options)
  if not tr.distributed._library() then pending "texres is built without MPI" end
  if not there then pending "mpirun is not installed" end
  local env = {}
  for _, table in ipairs { ENV, options and options.env or {} } do
    for name, value in pairs(table) do env[name] = value end
  end
  local start = { "timeout", "-k", "5", SECONDS, MPIRUN, "-n", ("%d"):format(ranks) }
  local ok, output, status = support.run(table.move(words, 1, #words, #start + 1, start), { env = env })
  assert.is_true(status ~= 124 and status ~= 137, "it hung: " .. output)
  return ok, output, status
end

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
  for _, ranks in ipairs { 1, 2, 3 } do
    it(("is the same everywhere: %d of them"):format(ranks), function()
      assert.equal(("functions %d\n"):format(ranks), case(ranks, "functions", "launched"))
    end)
  end

  it("is nothing in a process that mpirun did not start", function()
    assert.equal("functions 1\n", alone "functions")
  end)
end)

describe("a Trainer on several ranks", function()
  it("comes to the same bits and figures with any number of ranks and of threads", function()
    local wanted = case(1, "bits")
    local one, two = wanted:match "^(all [^\n]+\nfrozen [^\n]+\n)(.+)$"
    assert.equal(one, two) -- threads
    for _, ranks in ipairs { 2, 3, 4, 8 } do assert.equal(wanted, case(ranks, "bits")) end
  end)

  it("sees each image of an epoch once", function()
    for _, ranks in ipairs { 2, 3, 5 } do assert.equal("each of 301\n", case(ranks, "samples")) end
  end)

  it("has the gradient of the whole batch", function()
    local function read(text)
      local values = {}
      for name, value in text:gmatch "(%S+) (%S+)\n" do values[#values + 1] = { name, tonumber(value) } end
      return values
    end
    local wanted, found = read(alone "gradient"), read(case(3, "gradient"))
    assert.equal(3 * 9 + 3 + 108 * 6 + 6, #wanted)
    for i, pair in ipairs(wanted) do
      assert.equal(pair[1], found[i][1])
      assert.is_true(math.abs(pair[2] - found[i][2]) < 2e-6, ("%s: %g, %g"):format(pair[1], pair[2], found[i][2]))
    end
  end)
end)
