--- The doctor: what is read of a machine, what it makes of it, and its test of the kernels.
local checks = require "texres.doctor.checks"
local core = require "texres.core"
local machine = require "texres.machine"
local self_test = require "texres.doctor.self_test"
local support = require "spec.support"
local tr = require "texres"

--- A folder that stands for /, with these files.
local function root_of(texts)
  local root = support.folder()
  for path, text in pairs(texts) do
    assert(tr.make_folder(root .. path:match "^(.*)/"))
    support.write_file(root .. path, text)
  end
  return root
end

describe("what is known of a machine", function()
  it("is read off the files of Linux", function()
    local root = root_of {
      ["/proc/cpuinfo"] = "processor\t: 0\nmodel name\t: Some CPU 9\n\nprocessor\t: 1\nmodel name\t: Some CPU 9\n",
      ["/proc/version"] = "Linux version 6.1.0-18 (someone) #1\n", ["/proc/loadavg"] = "1.50 2.0 3.0 1/2 3\n",
      ["/proc/self/status"] = "Name:\tlua\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,8,10-11\n",
      ["/proc/meminfo"] = "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n",
      ["/sys/kernel/mm/transparent_hugepage/enabled"] = "always [madvise] never\n",
    }
    assert.equal("Some CPU 9", machine.processor(root))
    assert.equal("Linux version 6.1.0-18", machine.system(root))
    assert.equal(1.5, machine.load(root))
    assert.equal(7, machine.processors(root))
    assert.same({ 2 << 20, 1 << 20 }, { machine.memory(root) })
    assert.equal("madvise", machine.huge_pages(root))
  end)

  it("is nil where there are no such files", function()
    local root = support.folder()
    for name, read in pairs(machine) do assert.is_nil((read(root)), name) end
  end)

  it("has the limits of control groups of version 2, the least of those above", function()
    local root = root_of {
      ["/proc/self/cgroup"] = "0::/system.slice/job\n", ["/sys/fs/cgroup/system.slice/job/cpu.max"] = "max 100000\n",
      ["/sys/fs/cgroup/system.slice/cpu.max"] = "150000 100000\n", ["/sys/fs/cgroup/memory.max"] = "max\n",
      ["/sys/fs/cgroup/system.slice/job/memory.max"] = "1073741824\n",
      ["/sys/fs/cgroup/system.slice/memory.max"] = "2147483648\n",
    }
    assert.equal(1.5, machine.processor_limit(root))
    assert.equal(1 << 30, machine.memory_limit(root))
    root = root_of { ["/proc/self/cgroup"] = "0::/\n", ["/sys/fs/cgroup/cpu.max"] = "50000 100000\n" }
    assert.equal(0.5, machine.processor_limit(root))
  end)

  it("has those of version 1, in a container too, whose path only its host sees", function()
    local root = root_of {
      ["/proc/self/cgroup"] = "9:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/docker/1f\n",
      ["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "250000\n", ["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = "100000\n",
      ["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "536870912\n",
    }
    assert.equal(2.5, machine.processor_limit(root))
    assert.equal(1 << 29, machine.memory_limit(root))
    root = root_of {
      ["/proc/self/cgroup"] = "9:memory:/\n4:cpu,cpuacct:/\n", ["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"] = "-1\n",
      ["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us"] = "100000\n",
      ["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n",
    }
    assert.is_nil(machine.processor_limit(root))
    assert.is_nil(machine.memory_limit(root))
  end)
end)

-- A machine on which all is well, but for what `changed` says.
local function facts(changed)
  local all = {
    version = "texres 1", lua = "Lua 5.4", folder = "lua/texres", isa = "avx2", argparse = "0.7.1", load = 0.1,
    mpi = "Open MPI v4",
    processor = "CPU", processors = 4, threads = 4, memory = 8 << 30, memory_available = 6 << 30, huge_pages = "always",
    build = { compiler = "gcc", zlib = "1", blas = "OpenBLAS Haswell", hdf5 = "1", isas = { "ref", "avx2" } },
    test = { functions = 3, error = 1e-6, worst = "ReLU", same_bits = true,
      speed = { one = 1e10, all = 4e10, convolution = 2e10 } },
  }
  for name, value in pairs(changed) do
    if type(value) == "table" then
      for field, inner in pairs(value) do all[name][field] = inner or nil end
    else
      all[name] = value or nil
    end
  end
  return all
end

describe("what the doctor makes of it", function()
  it("is nothing where all is well", function()
    for _, check in ipairs(checks.of(facts {})) do assert.same({ "ok" }, { check.state, check.advice }, check.name) end
  end)

  it("says what to do about each problem", function()
    local function says(name, state, advice, changed)
      local found = {}
      for _, check in ipairs(checks.of(facts(changed))) do
        if check.state ~= "ok" then found[#found + 1] = check end
      end
      assert.equal(1, #found, name)
      assert.same({ name, state }, { found[1].name, found[1].state })
      assert.matches(advice, found[1].advice)
    end
    says("OpenBLAS", "note", "libopenblas%-dev", { build = { blas = false } })
    says("OpenBLAS", "note", "OPENBLAS_CORETYPE=Haswell", { build = { blas = "OpenBLAS Prescott MAX_THREADS=64" } })
    says("HDF5", "note", "libhdf5%-dev", { build = { hdf5 = false } })
    says("argparse", "note", "lua%-argparse", { argparse = false })
    says("kernels", "note", "unset TEXRES_ISA", { isa = "ref" })
    says("kernels", "note", "several times slower", { isa = "ref", build = { isas = { "ref" } } })
    says("threads", "problem", "TEXRES_NUM_THREADS=2", { processor_limit = 2.5 })
    says("threads", "problem", "TEXRES_NUM_THREADS=1", { processor_limit = 0.5 })
    says("threads", "problem", "TEXRES_NUM_THREADS=4", { threads = 8, asked_threads = "8",
      test = { speed = { one = 1e10, all = 8e10, convolution = 1e10 } } })
    says("threads", "note", "4 may run", { threads = 2, asked_threads = "2" })
    says("load", "note", "other programs", { load = 4 })
    says("memory", "problem", "smaller batch", { memory_limit = 1 << 28 })
    says("memory", "note", "smaller batch", { memory_available = 1 << 30 })
    says("huge pages", "note", "echo madvise", { huge_pages = "never" })
    says("correctness", "problem", "do not trust", { test = { error = 1e-3 } })
    says("correctness", "problem", "do not trust", { test = { error = math.huge } })
    says("correctness", "problem", "never be", { test = { same_bits = false } })
    says("speed", "note", "1.2 times", { test = { speed = { one = 1e10, all = 1.2e10, convolution = 1e10 } } })
  end)

  it("tells a speed that is beyond that of multiply-adds with the reason", function()
    local function told(changed)
      for _, check in ipairs(checks.of(facts(changed))) do
        if check.name == "speed" then return check.value end
      end
    end
    assert.equal("multiply-adds 10 GFLOP/s with one thread, 40 GFLOP/s with 4; a 3x3 convolution does the work of "
      .. "20 GFLOP/s", told {})
    assert.matches("the work of 90 GFLOP/s, as Winograd's method saves multiplications$",
      told { test = { speed = { one = 1e10, all = 4e10, convolution = 9e10 } } })
    assert.matches("^multiply%-adds 10 GFLOP/s with one thread; a 3x3", told { threads = 1 })
  end)

  it("tells of MPI, which one box does well without", function()
    local function told(changed)
      for _, check in ipairs(checks.of(facts(changed))) do
        if check.name == "MPI" then return check.value end
      end
    end
    assert.equal("Open MPI v4", told {})
    assert.matches("^none; .*make setup%-mpi", told { mpi = false })
    assert.equal("none", told { mpi = false, mpi_problem = "distributed: texres.mpi can't be loaded: libmpi.so.40" })
  end)

  it("leaves out what can't be known", function()
    local bare = facts { load = false, memory = false, huge_pages = false, processor = false, processors = false }
    local names = {}
    for i, check in ipairs(checks.of(bare)) do names[i] = check.name end
    assert.same({ "version", "build", "processor", "kernels", "OpenBLAS", "HDF5", "MPI", "argparse", "threads",
      "correctness", "speed" }, names)
  end)
end)

describe("the self-test", function()
  it("finds a function that is wrong in f32, in its value, its gradient or by no number", function()
    local function case(f) return { "wrong", function(dtype) return f, tr.ones({ 4 }, { dtype = dtype }) end } end
    local good = self_test.CASES[#self_test.CASES]
    local function errors(f) return self_test.errors { good, case(f) } end
    local function is_single(x) return x.dtype == "f32" end
    local off, name = errors(function(x) return is_single(x) and x * 1.5 or x * 1 end)
    assert.near(0.5, off, 1e-6)
    assert.equal("wrong", name)
    off = errors(function(x) return is_single(x) and x * x or x * 1 end)
    assert.near(1, off, 1e-6)
    off = errors(function(x) return is_single(x) and x * (0 / 0) or x * 1 end)
    assert.equal(math.huge, off)
  end)

  it("finds nothing here, for any number of threads", function()
    assert.is_true(self_test.errors(self_test.CASES) < 1e-4)
    assert.is_true(self_test.same_bits(3))
  end)
end)

describe("texres.doctor", function()
  it("is a list that print shows, and leaves threads and random numbers as they were", function()
    local threads, seed, stream = tr.num_threads(), tr.rng_state()
    local report = tr.doctor()
    assert.same({ threads, seed, stream }, { tr.num_threads(), tr.rng_state() })
    assert.is_true(#report >= 10)
    local text = tostring(report)
    for _, check in ipairs(report) do
      assert.matches("%f[%w]" .. check.state .. " +" .. check.name .. " ", text)
      if check.advice then assert.is_truthy(text:find(check.advice, 1, true)) end
    end
    assert.matches(core._VERSION, text, 1, true)
    assert.matches("\n%d+ problems?, %d+ notes?$", text)
  end)

  it("is a command, with status 1 where there is a problem", function()
    local ok, output, status = support.run({ support.lua, "bin/texres", "doctor" },
      { env = { TEXRES_NUM_THREADS = 64 } })
    assert.is_false(ok)
    assert.equal(1, status)
    assert.matches("\nproblem +threads +64", output)
    assert.matches("export TEXRES_NUM_THREADS=%d", output)
  end)
end)
