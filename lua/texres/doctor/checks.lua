--- What is well on a machine and what is not: facts, as texres.doctor gathers them, become a list of checks
--
--     { name = "huge pages", value = "never", state = "note", advice = "..." }
--
-- state: "ok"; "note" for what costs speed or comfort; "problem" for what stands in the way of work. advice: what to do
-- about it, nil where all is well.

local plain = require "texres.plain"

local checks = {}

local GIB = 1 << 30
local BOUND = 1e-4 -- of an error as a share of the largest value; Winograd's convolutions are off by 1e-5

local function ok(value) return { value = value, state = "ok" } end
local function note(value, ...) return { value = value, state = "note", advice = plain.format(...) } end
local function problem(value, ...) return { value = value, state = "problem", advice = plain.format(...) } end

local function gib(bytes) return plain.format("%.1f GiB", bytes / GIB) end
local function gflops(rate) return plain.format("%.0f GFLOP/s", rate / 1e9) end

-- -- what is installed ------------------------------------------------------------------------------------------------

function checks.version(facts)
  return ok(("%s in %s, %s"):format(facts.version, facts.folder, facts.lua))
end

function checks.build(facts) return ok(("%s, zlib %s"):format(facts.build.compiler, facts.build.zlib)) end

-- The core that OpenBLAS takes for a processor that it doesn't know; it serves any.
local PLAIN_CORE = "Prescott"
local CORE_OF = { avx2 = "Haswell", avx512 = "SkylakeX" }

function checks.OpenBLAS(facts)
  local blas, best = facts.build.blas, facts.build.isas[#facts.build.isas]
  if not blas then
    return note("none", "products in f64, and f32 ones of a few rows, take slower loops: install libopenblas-dev and "
      .. "build texres anew")
  end
  if CORE_OF[best] and blas:find(PLAIN_CORE, 1, true) then
    return note(blas, "it takes this processor for an old one, which makes products in f64 slow: export "
      .. "OPENBLAS_CORETYPE=%s", CORE_OF[best])
  end
  return ok(blas)
end

function checks.HDF5(facts)
  if facts.build.hdf5 then return ok(facts.build.hdf5) end
  return note("none", "files such as train64.h5 can't be read: install libhdf5-dev and build texres anew")
end

function checks.MPI(facts)
  if facts.mpi then return ok(facts.mpi) end
  if facts.mpi_problem then
    return note("none", "%s; is the MPI there that texres was built with? Else build texres anew",
      facts.mpi_problem:match "[^\n\t]*$")
  end
  return ok "none; it trains on several processes or machines: make setup-mpi, then build texres anew"
end

function checks.argparse(facts)
  if facts.argparse then return ok(facts.argparse) end
  return note("none", "the command texres needs it: install lua-argparse, or luarocks install argparse")
end

-- -- the machine ------------------------------------------------------------------------------------------------------

function checks.processor(facts)
  local name = facts.processor or "unknown"
  return ok(facts.processors and ("%s, %d to run on"):format(name, facts.processors) or name)
end

function checks.kernels(facts)
  local isa, best = facts.isa, facts.build.isas[#facts.build.isas]
  if isa ~= best then
    return note(isa, "TEXRES_ISA asks for them; %s are faster here: unset TEXRES_ISA", best)
  end
  if isa == "ref" then
    return note(isa, "there are none for this processor, only for AVX2, AVX-512 and NEON: all is several times slower")
  end
  return ok(isa)
end

-- Threads beyond what may run wait for each other at the end of every layer.
function checks.threads(facts)
  local threads, limit, processors = facts.threads, facts.processor_limit, facts.processors
  local value = ("%d"):format(threads)
  if limit then value = plain.format("%s; the container allows %.3g processors", value, limit) end
  local most = math.min(limit and math.max(1, limit // 1) or math.huge, processors or math.huge)
  if threads > most then
    return problem(value, "more than may run at a time, so they wait for each other: export TEXRES_NUM_THREADS=%.0f",
      most)
  end
  if facts.asked_threads and threads < most and most < math.huge then
    return note(value, "TEXRES_NUM_THREADS asks for no more; %.0f may run", most)
  end
  return ok(value)
end

function checks.load(facts)
  local load, processors = facts.load, facts.processors
  if not load then return nil end
  local value = plain.format("%.1f", load)
  if processors and load > 0.7 * processors then
    return note(value, "other programs were busy in the last minute: what is measured now is less than it can do")
  end
  return ok(value)
end

function checks.memory(facts)
  local total, available, limit = facts.memory, facts.memory_available, facts.memory_limit
  if not total or not available then return nil end
  local value = ("%s, %s of it free"):format(gib(total), gib(available))
  if limit and limit < total then value = ("%s; the container allows %s"):format(value, gib(limit)) end
  local room = math.min(available, limit or available)
  local advice = "train with a smaller batch, and with checkpoint = true where the network is deep"
  if room < 0.5 * GIB then return problem(value, "a training takes more: %s", advice) end
  if room < 2 * GIB then return note(value, "large networks take more: %s", advice) end
  return ok(value)
end

checks["huge pages"] = function(facts)
  local pages = facts.huge_pages
  if not pages then return nil end
  if pages ~= "never" then return ok(pages) end
  return note(pages, "large tensors take longer to touch: as root, echo madvise "
    .. ">/sys/kernel/mm/transparent_hugepage/enabled")
end

-- -- the self-test ----------------------------------------------------------------------------------------------------

local WRONG = "do not trust its figures: try TEXRES_ISA=ref, and report this with the output of texres doctor"

function checks.correctness(facts)
  local test = facts.test
  local value = plain.format("%d functions and their gradients are off plain loops by %.1e at most, %s", test.functions,
    test.error, test.worst)
  if test.error >= BOUND then return problem(value, "more than %g is wrong: %s", BOUND, WRONG) end
  if not test.same_bits then
    return problem("one thread and all of them give different bits", "this must never be: %s", WRONG)
  end
  return ok(value)
end

function checks.speed(facts)
  local speed, threads = facts.test.speed, facts.threads
  local value = ("multiply-adds %s with one thread%s; a 3x3 convolution does the work of %s%s"):format(
    gflops(speed.one), threads > 1 and (", %s with %d"):format(gflops(speed.all), threads) or "",
    gflops(speed.convolution), speed.convolution > speed.all and ", as Winograd's method saves multiplications" or "")
  if threads > 1 and speed.all < 0.6 * threads * speed.one then
    return note(value, "%d threads do no more than %.1f times what one does: other work, or what a container allows, "
      .. "holds them up, or two threads share a core", threads, speed.all / speed.one)
  end
  return ok(value)
end

-- -- all of them ------------------------------------------------------------------------------------------------------

local ORDER = {
  "version", "build", "processor", "kernels", "OpenBLAS", "HDF5", "MPI", "argparse", "threads", "load", "memory",
  "huge pages", "correctness", "speed",
}

--- The list of checks; what can't be known on this system is left out.
function checks.of(facts)
  local list = {}
  for _, name in ipairs(ORDER) do
    local check = checks[name](facts)
    if check then
      check.name = name
      list[#list + 1] = check
    end
  end
  return list
end

return checks
