--- tools/floors.lua: what it finds in a source file of csrc/.

local support = require "spec.support"

describe("the floors", function()
  local here = io.popen("pwd"):read "l"
  local folder = support.folder()
  local headers = {
    base = { threads = "", memory = "" },
    kernels = { kernels = "", list = "" },
    passes = {
      passes = '#include "base/threads.h"\n# include "kernels/kernels.h"', inner = '#include "passes/passes.h"',
    },
    autograd = { tape = "" },
  }
  for floor, list in pairs(headers) do
    assert(os.execute(("mkdir -p %s/csrc/%s"):format(folder, floor)))
    for name, text in pairs(list) do
      local guard = ("TX_%s_%s_H"):format(floor:upper(), name:upper())
      support.write_file(("%s/csrc/%s/%s.h"):format(folder, floor, name),
        ("/* %s */\n#ifndef %s\n#define %s\n%s\n#endif\n"):format(name, guard, guard, text))
    end
  end

  --- What is said of a file on this floor that holds only this line.
  local function faults(floor, line)
    local path = ("%s/csrc/%s/x.c"):format(folder, floor)
    support.write_file(path, "/* x */\n" .. line .. "\n")
    local command = ("cd '%s' && '%s' '%s/tools/floors.lua'"):format(folder, support.lua, here)
    local _, output = support.run { "sh", "-c", command }
    os.remove(path)
    return output
  end

  it("let a file include what is below it", function()
    assert.equal("", faults("passes", '#include "passes/passes.h"'))
    assert.equal("", faults("autograd", '#include "kernels/list.h"'))
    assert.equal("", faults("autograd", '// #include "base/threads.h"'))
  end)

  it("find what is above, or belongs to another floor, however it is written", function()
    for _, case in ipairs {
      { "passes", '#include "autograd/tape.h"', "passes includes autograd, which stands above it" },
      { "autograd", '#include "base/threads.h"', "threads belong to csrc/passes/" },
      { "autograd", '#  include <base/threads.h>', "threads belong to csrc/passes/" },
      { "autograd", '#include "../base/threads.h"', "headers are named from csrc/ on" },
      { "autograd", "#include <lua5.4/lua.h>", "lua.h belongs to csrc/lua/ and csrc/mpi/" },
      { "passes", "#include <mpi.h>", "mpi.h belongs to csrc/mpi/wire.c" },
      { "autograd", '#include "cblas.h"', "cblas.h belongs to csrc/passes/gemm.c" },
      { "kernels", '#include "base/memory.h"', "kernels allocate nothing" },
      { "kernels", "#include <stdlib.h>", "kernels allocate nothing" },
      { "kernels", "#include <pthread.h>", "kernels run on one thread" },
    } do
      local output = faults(case[1], case[2])
      assert.equal(("csrc/%s/x.c:2: %s\n"):format(case[1], case[3]), output)
    end
  end)

  it("find what a header brings in by another one", function()
    for _, header in ipairs { "passes/passes.h", "passes/inner.h" } do
      local output = faults("autograd", ('#include "%s"'):format(header))
      assert.matches("threads belong to csrc/passes/ (" .. header .. " includes base/threads.h)", output, 1, true)
      assert.matches("kernels belong to csrc/passes/ (" .. header .. " includes kernels/kernels.h)", output, 1, true)
    end
  end)
end)
