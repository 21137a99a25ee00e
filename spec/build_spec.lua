--- How the module was built: build_info, and a build without the optional libraries.
local support = require "spec.support"
local core = require "texres.core"
local tr = require "texres"

local function make(...)
  local ok, output = support.run { "make", "--no-print-directory", ... }
  assert.is_true(ok, output)
  return output
end

--- The library's files of Lua in a folder of their own, with that core, and with texres.mpi as if it were older.
local function make_tree(folder, core_path, mpi_path)
  assert(os.execute(("cp -r lua/texres '%s' && cp '%s' '%s/texres/core.so'"):format(folder, core_path, folder)))
  os.remove(folder .. "/texres/mpi.so")
  if not mpi_path then return end
  local version = core._VERSION:match "%S+$"
  local older, count = support.read_file(mpi_path):gsub("\0" .. version:gsub("%.", "%%.") .. "\0", "\0000.0.0\0")
  assert(count > 0, "the version is not in mpi.so")
  support.write_file(folder .. "/texres/mpi.so", older)
end

describe("build_info", function()
  local info = core.build_info()

  it("tells the compiler and its flags", function()
    assert.matches("^%a+ %d+%.%d+", info.compiler)
    assert.matches("%-std=c11.*%-ffp%-contract=off", info.flags)
  end)

  it("tells the libraries, nil for those that are absent", function()
    assert.matches("^%d+%.%d+", info.zlib)
    if info.blas then assert.matches("^OpenBLAS %d+%.%d+", info.blas) end
    if info.hdf5 then assert.matches("^%d+%.%d+%.%d+$", info.hdf5) end
  end)

  it("lists the instruction sets that this machine can run, the one in use among them", function()
    assert.equal("ref", info.isas[1])
    assert.matches(" " .. tr.isa() .. " ", " " .. table.concat(info.isas, " ") .. " ", 1, true)
  end)

  it("comes with the version, which the rockspec has, too", function()
    local version = tr._VERSION:match "^texres (%d+%.%d+%.%d+)$"
    assert.matches('version = "' .. version .. '-1"', support.read_file("texres-" .. version .. "-1.rockspec"), 1, true)
  end)
end)

describe("texres.mpi, a module of its own", function()
  local core_path = package.searchpath("texres.core", package.cpath)
  local mpi_path = core_path:gsub("core%.so$", "mpi.so")

  local function needs(path, pattern)
    local ok, symbols = support.run { "nm", "-D", path }
    assert.is_true(ok, symbols)
    return symbols:find(pattern) ~= nil
  end

  it("has all that is MPI's, and nothing of the core", function()
    if not support.run { "nm", "--version" } then pending "nm is not installed" end
    assert.is_false(needs(core_path, "U P?MPI_"))
    local _, libraries = support.run { "ldd", core_path }
    assert.is_nil(libraries:find "libmpi")
    if not support.exists(mpi_path) then pending "texres is built without MPI" end
    assert.is_true(needs(mpi_path, "U MPI_Init"))
    assert.is_false(needs(mpi_path, "U tx_"))
    assert.is_true(needs(mpi_path, " T luaopen_texres_mpi\n"))
    assert.is_false(needs(mpi_path, " [TDBRV] [^l]"))
  end)

  it("is left out by MPI=no, which is told", function()
    local told = make("-n", "MPI=no", "BUILD=" .. support.folder())
    assert.matches("LD [%w/._-]+core%.so %(without[%w ]* MPI%)", told)
    assert.is_nil(told:find("LD %S+mpi%.so"))
    assert.is_nil(told:find("lmpi", 1, true))
    assert.matches("rm %-f %S+mpi%.so", told) -- of a build before
  end)

  it("is asked for by mpirun alone, with a message where it is absent or of another version", function()
    local tree = support.folder()
    make_tree(tree, core_path)
    local env = { LUA_PATH = tree .. "/?.lua;" .. tree .. "/?/init.lua", LUA_CPATH = tree .. "/?.so" }
    local script = [[
      local tr = require "texres"
      io.write(tostring(tr.distributed._library()), " ", select(2, pcall(tr.distributed.rank)))]]
    assert.equal("nil 0", select(2, support.run_lua(script, { env = env })))
    env.OMPI_COMM_WORLD_RANK = 0
    assert.matches("distributed: texres was built without MPI, which mpirun needs: install libopenmpi%-dev",
      select(2, support.run_lua(script, { env = env })))
    support.write_file(tree .. "/texres/mpi.so", "no library")
    assert.matches("distributed: texres.mpi can't be loaded: .*mpi.so",
      select(2, support.run_lua(script, { env = env })))
    if not support.exists(mpi_path) then pending "texres is built without MPI" end
    make_tree(tree, core_path, mpi_path)
    assert.matches("texres.mpi is of texres 0.0.0, but this is " .. core._VERSION:gsub("texres ", ""),
      select(2, support.run_lua(script, { env = env })), 1, true)
  end)
end)

describe("a module without optional libraries", function()
  if os.getenv "ASAN_OPTIONS" then return pending "the build is not the sanitized one" end
  local build = os.getenv "BUILD" or "build"
  local env = { LUA_PATH = "./lua/?.lua;./lua/?/init.lua;./?.lua;;", LUA_CPATH = build .. "/bare/lua/?.so;;" }
  local busted = os.getenv "BUSTED" or "lua5.4 /usr/bin/busted --ignore-lua"
  setup(function() make(build .. "/bare/lua/texres/core.so") end)

  --- Runs Lua source with that module, and the instruction set `isa`.
  local function run(source, isa)
    env.TEXRES_ISA = isa
    local ok, output = support.run_lua(source, { env = env })
    assert.is_true(ok, output)
    return output
  end

  it("says that they are absent", function()
    assert.equal("nil nil", run [[
      local info = require "texres.core".build_info()
      io.write(tostring(info.blas), " ", tostring(info.hdf5))]])
    assert.matches("built without HDF5", run [[print(require "texres".hdf5_datasets "spec/fixtures/data/chunked.h5")]])
  end)

  for _, isa in ipairs(core.build_info().isas) do
    it("multiplies right with the kernels of " .. isa, function()
      env.TEXRES_ISA = isa
      local ok, output = support.run({ "sh", "-c", busted .. " spec/ops_matmul_spec.lua" }, { env = env })
      assert.is_true(ok, output)
    end)

    it("multiplies right around its blocks, and with the same bits for any number of threads: " .. isa, function()
      run([[
        local tr = require "texres"
        local function reference(a, b) -- a row of the sum at a time, in f64
          local sum = tr.zeros(a:size(1), b:size(2), { dtype = "f64" })
          for s = 1, a:size(2) do sum = sum + a:slice(2, s, s) * b:slice(1, s, s) end
          return sum
        end
        local function view(rows, columns, transposed)
          if transposed then return tr.randn(columns, rows, { dtype = "f64" }):transpose(1, 2) end
          return tr.randn(rows, columns, { dtype = "f64" })
        end
        local sizes = { { 1, 1, 1 }, { 2, 9, 8 }, { 3, 127, 17 }, { 7, 128, 15 }, { 130, 129, 16 }, { 129, 300, 520 } }
        for _, size in ipairs(sizes) do
          local m, k, n = table.unpack(size)
          local what = ("%dx%dx%d, "):format(m, k, n)
          for kind = 0, 3 do
            local a, b = view(m, k, kind % 2 == 1), view(k, n, kind >= 2)
            local wanted = reference(a, b)
            assert(tr.allclose(a:matmul(b), wanted, 1e-11), what .. kind)
            local a32, b32, one = a:to "f32", b:to "f32"
            for threads = 1, 3 do
              tr.set_num_threads(threads)
              local product = a32:matmul(b32)
              one = one or product
              assert(tr.allclose(product:to "f64", wanted, 1e-3, 1e-3), what .. kind .. ", f32")
              assert((product - one):abs():max():item() == 0, "bits")
            end
          end
        end]], isa)
    end)
  end
end)
