--- Several processes that work as one, by MPI:
--
--     mpirun -n 4 lua5.4 train.lua
--
-- A script that trains with texres.Trainer need not change: see texres.trainer.shards for what the processes share. For
-- loops of one's own, here is what they say to each other. Each process runs the same script; `rank` tells them apart,
-- from 0, and all of them come by the same calls in the same order. In a process that mpirun did not start, rank is 0
-- and size 1, and all of this does nothing, so that a script runs in both ways.
--
-- A process that ends with an error, or that os.exit ends with another status than 0, ends all the others. So does one
-- that comes to its end while others wait for it.
-- @module texres.distributed

local core = require "texres.core"
local files = require "texres.files"
local option = require "texres.options"
local protect = require "texres.protect"
local raise = require "texres.raise"
local strict = require "texres.strict"

local distributed = {}

-- What mpirun or srun tell a process that they start, for Open MPI, MPICH and PMIx: its rank, and how many there are.
local TOLD = {
  { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" }, { "PMI_RANK", "PMI_SIZE" },
  { "PMIX_RANK", "SLURM_STEP_NUM_TASKS" },
}

local WITHOUT = "distributed: texres was built without MPI, which mpirun needs: install libopenmpi-dev and "
  .. "openmpi-bin, or libmpich-dev and mpich, and build it again"
local CANNOT = "distributed: texres.mpi can't be loaded: %s"
local OTHER = "distributed: this process was started as rank %d%s, but %s, which texres was built with, knows of no "
  .. "other one: start it with the mpirun of that library, or build texres with the one whose mpirun this is"

local ENDED = "texres: rank %d has come to its end, but rank %d waits for it\n"
local DIFFER = "texres: rank %d makes another call than rank %d, or the same one with a tensor of another shape or "
  .. "dtype\n"

local folder = debug.getinfo(1, "S").source:match "^@(.*)distributed%.lua$" or "./"

--- The module texres.mpi as the searchers find it, else the one that was built beside this file (a checkout); nil and a
-- message where there is none that can be loaded.
local function find_mpi()
  local found, mpi = pcall(require, "texres.mpi")
  if found then return mpi end
  if not mpi:find("^[^\n]*module 'texres.mpi' not found") then return nil, CANNOT:format(mpi) end
  local beside = folder .. "mpi.so"
  if not files.exists(beside) then return nil, WITHOUT end
  local open, message = package.loadlib(beside, "luaopen_texres_mpi")
  if not open then return nil, CANNOT:format(message) end
  found, mpi = pcall(open)
  if not found then return nil, CANNOT:format(mpi) end
  package.loaded["texres.mpi"] = mpi
  return mpi
end

local function load_mpi()
  local mpi, message = find_mpi()
  if not mpi then raise("%s", message) end
  return mpi
end

--- The library that the module was built with, as it names itself; nil without one.
function distributed._library()
  local mpi = find_mpi()
  return mpi and mpi.library() or nil
end

--- Why the module can't be loaded though it is there; nil where it can, or is absent.
function distributed._problem()
  local _, message = find_mpi()
  return message ~= WITHOUT and message or nil
end

local job -- { mpi =, rank =, size =, library = } of this process, once it has joined

local alone = false -- whether this process works by itself for a while

local function told(name) return math.tointeger(tonumber(os.getenv(name))) end

--- The rank that mpirun, or what stands for it, gave this process, and how many ranks it says there are (nil: it does
-- not); nil where it did not start it. MPI is not asked.
function distributed._launched_rank()
  for _, names in ipairs(TOLD) do
    local rank = told(names[1])
    if rank then return rank, told(names[2]) end
  end
end

--- Whether mpirun, or what stands for it, has started this process.
-- @treturn bool
function distributed.is_launched() return distributed._launched_rank() ~= nil end

--- Calls a function in which this process is a job of its own, of one rank: what is trained there does not wait for the
-- others.
function distributed._alone(f, ...)
  local before = alone
  return protect.between(function() alone = true end, function() alone = before end, f, ...)
end

--- Whether this process tells what all processes of its job find: the first one does, and each that works by itself.
function distributed._tells() return alone or (distributed._launched_rank() or 0) == 0 end

--- What the processes of this job share; nil in one that mpirun did not start, or that works by itself.
function distributed._job()
  if alone then return nil end
  if job or not distributed.is_launched() then return job end
  local mpi = load_mpi()
  local wanted, of = distributed._launched_rank() -- MPI changes the environment
  local rank, size, library
  rank, size, library = mpi.open(function(other, ended)
    io.stderr:write((ended and ENDED or DIFFER):format(other, rank))
  end)
  if size == 1 and (wanted > 0 or of and of > 1) then -- every one of them would train all of it
    raise(OTHER, wanted, of and (" of %d"):format(of) or "", library)
  end
  job = { mpi = mpi, rank = rank, size = size, library = library }
  return job
end

--- The number of this process, from 0.
-- @treturn int
function distributed.rank()
  local own = distributed._job()
  return own and own.rank or 0
end

--- How many processes there are.
-- @treturn int
function distributed.size()
  local own = distributed._job()
  return own and own.size or 1
end

--- Waits until all processes have come here.
function distributed.barrier()
  local own = distributed._job()
  if own then own.mpi.barrier() end
end

local function check_tensor(operation, t)
  if not core.is_tensor(t) then raise("%s: wanted a tensor, got %s", operation, option.shown(t)) end
  return t
end

--- Gives a tensor of one process to all: in place, and returned. Shapes and dtypes are the same everywhere.
-- @tparam Tensor t contiguous
-- @tparam[opt=0] int root the rank whose tensor it is
-- @treturn Tensor
function distributed.broadcast(t, root)
  check_tensor("broadcast", t)
  local size = distributed.size()
  root = option.check("broadcast", "root", root or 0, option.integer(0, ("[0, %d)"):format(size)))
  if size > 1 then core.no_grad(function() job.mpi.broadcast(t, root) end) end
  return t
end

--- The tensors of all processes, {size, ...}, in the order of their ranks.
-- @tparam Tensor t of the same shape and dtype everywhere
-- @treturn Tensor
function distributed.all_gather(t)
  check_tensor("all_gather", t)
  local size = distributed.size()
  local all = core.empty({ size, table.unpack(t:shape()) }, { dtype = t.dtype })
  if size == 1 then
    all:copy_from(t:detach():reshape(all:shape()))
  else
    job.mpi.all_gather(t:detach():contiguous(), all)
  end
  return all
end

--- A row of numbers from each process.
function distributed._rows(numbers)
  return distributed.all_gather(core.tensor(numbers, { dtype = "f64" })):totable()
end

--- The sum of the tensors of all processes, in place, and returned. They are added in the order of ranks: every process
-- gets the same bits, but other numbers of processes may give others. For gradients whose bits must not depend on it,
-- see texres.trainer.shards.
-- @tparam Tensor t of the same shape and dtype everywhere
-- @treturn Tensor
function distributed.all_reduce(t)
  check_tensor("all_reduce", t)
  if distributed.size() == 1 then return t end
  core.no_grad(function()
    local all = distributed.all_gather(t)
    local sum = all[1]
    for rank = 2, distributed.size() do sum = sum + all[rank] end
    t:copy_from(sum)
  end)
  return t
end

return strict.table("texres.distributed", distributed)
