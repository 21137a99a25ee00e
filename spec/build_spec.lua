--- How the module was built: build_info, and a build without the optional libraries.
local support = require "spec.support"
local core = require "texres.core"
local tr = require "texres"

local function make(...)
  local ok, output = support.run { "make", "--no-print-directory", ... }
  assert.is_true(ok, output)
  return output
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
