--- The thread pool: every block is done once, by any number of threads, also in a forked child and on a busy machine.
local support = require "spec.support"
local tr = require "texres"

describe("the thread pool", function()
  local before = tr.num_threads()
  after_each(function() tr.set_num_threads(before) end)

  it("gives the same bits for any number of threads", function()
    tr.manual_seed(1)
    local x = tr.randn(301, 1009)
    local expected
    for _, threads in ipairs { 1, 2, 3, 8, 64 } do
      tr.set_num_threads(threads)
      for _ = 1, 20 do
        local y = (x * 3 + 1):exp():sum({ 1, 2 }):item()
        expected = expected or y
        assert.equal(expected, y)
      end
    end
  end)

  it("survives many short jobs with more threads than cores", function()
    tr.set_num_threads(16)
    local x = tr.ones(100000)
    for _ = 1, 500 do assert.equal(100000, x:sum():item()) end
  end)

  it("takes its size from TEXRES_NUM_THREADS", function()
    local ok, out = support.run_lua([[io.write(require "texres".num_threads())]], { env = { TEXRES_NUM_THREADS = 3 } })
    assert.same({ true, "3" }, { ok, out })
  end)

  it("adds no thread to a process that only loads it, and leaves the environment alone", function()
    if not io.open "/proc/self/status" then return pending "there is no /proc here" end
    if os.getenv "TSAN_OPTIONS" then return pending "ThreadSanitizer has a thread of its own" end
    local code = [[
      require "texres"
      local status = io.open("/proc/self/status"):read "a"
      io.write(status:match "Threads:%s*(%d+)", " ", tostring(os.getenv "OPENBLAS_NUM_THREADS"))
    ]]
    local ok, out = support.run_lua(code, { env = { OPENBLAS_NUM_THREADS = 4 } })
    assert.same({ true, "4" }, { ok, out:match "%d+$" })
    ok, out = support.run_lua(code)
    assert.same({ true, "1" }, { ok, out:match "^%d+" })
    assert.equal(tostring(os.getenv "OPENBLAS_NUM_THREADS"), out:match "%S+$")
  end)
end)
