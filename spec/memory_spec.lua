--- Memory: what is dropped is given back, and long loops stay flat.
local support = require "spec.support"
local tr = require "texres"

--- Live bytes after everything that is garbage was collected.
local function live()
  collectgarbage()
  collectgarbage()
  return (tr.live_bytes())
end

--- Resident kilobytes of this process; nil where /proc is absent, or where AddressSanitizer holds freed memory back.
local function resident()
  if os.getenv "ASAN_OPTIONS" then return nil end
  local file = io.open "/proc/self/status"
  if not file then return nil end
  local kb = file:read("a"):match "VmRSS:%s*(%d+)"
  file:close()
  return tonumber(kb)
end

describe("memory", function()
  it("returns to its start after 100,000 operations on small tensors", function()
    local x = tr.rand(8, 8)
    local start, before = live(), nil
    for i = 1, 100000 do
      local y = x + 1
      if i % 2 == 0 then y = (y * x):slice(1, 2, 5) end
      if i % 10 == 0 then y:sum(1, true):max() end
      if i == 20000 then before = resident() end
    end
    local after = resident()
    assert.equal(start, live())
    if before then assert.is_true(after - before < 4096, ("resident memory grew by %d kB"):format(after - before)) end
  end)

  it("stays flat over 20,000 small frames, whose tensors are dropped between Lua's tables", function()
    local core, frame, before = require "texres.core", (tr.rand(64, 128, 1) * 255):to "u8", nil
    for i = 1, 20000 do
      local pixels = frame:to "f32"
      local rows = core.cat({ pixels, pixels:slice(1, 1, 32) }, 1)
      local cells, list = tr.nn.functional.avg_pool2d(rows:unsqueeze(1), 8), {}
      for row = 1, 3 do list[row] = cells[1][row]:totable() end
      assert.equal(16, #list[3])
      if i == 2000 then before = resident() end
    end
    local grown = before and resident() - before
    assert.is_true(not grown or grown < 2048, ("resident memory grew by %d kB"):format(grown or 0)) -- was 5700
  end)

  it("stays bounded while large tensors are dropped, without a call to the collector", function()
    local start = live()
    tr.trim_memory()
    local x = tr.rand(1000, 1000)
    for _ = 1, 500 do local _ = x * 2 end -- 2 GB in all
    local _, peak = tr.live_bytes()
    assert.is_true(peak - start < 256 * 2 ^ 20, peak - start)
    x = nil -- luacheck: ignore
    assert.equal(start, live())
  end)

  it("serves small blocks from large ones, and large ones from small ones", function()
    if os.getenv "ASAN_OPTIONS" then return end -- keeps no blocks
    local function cached() return select(3, tr.live_bytes()) end
    collectgarbage()
    tr.trim_memory()
    local large = tr.zeros(8, 2 ^ 20)
    large:free()
    local kept = cached()
    assert.is_true(kept >= 2 ^ 25 and kept <= 2 ^ 25 + 2 ^ 21, kept) -- rounded up to huge pages of 2 MiB
    for _ = 1, 3 do
      local a, b = tr.zeros(4, 2 ^ 20), tr.zeros(4, 2 ^ 20)
      assert.is_true(cached() <= kept - 2 ^ 25, cached()) -- the bytes came from what was kept
      a:free()
      b:free()
      assert.equal(kept, cached())
      local c = tr.zeros(8, 2 ^ 20)
      assert.is_true(cached() <= kept - 2 ^ 25, cached()) -- the bytes came from what was kept
      c:free()
    end
    tr.trim_memory()
    assert.equal(0, cached())
  end)

  it("keeps the threads' working memory until it is trimmed", function()
    local x, w = tr.rand(2, 16, 16, 8), tr.rand(3, 3, 8, 8)
    local conv, before = tr.nn.functional.conv2d, tr.num_threads()
    finally(function() tr.set_num_threads(before) end)
    tr.set_num_threads(1)
    local expected = conv(x, w)
    for _, threads in ipairs { 1, 3, 2, 5 } do
      tr.set_num_threads(threads)
      tr.trim_memory()
      assert.equal(0, select(3, tr.live_bytes()))
      local start = live()
      conv(x, w):free()
      assert.equal(start, live())
      assert.is_true(tr.allclose(expected, conv(x, w), 0, 0)) -- with what is kept
      local wide = conv(tr.rand(2, 16, 16, 40), tr.rand(3, 3, 40, 8)) -- needs more
      assert.is_true(tr.allclose(expected, conv(x, w), 0, 0))
      wide:free()
      if not os.getenv "ASAN_OPTIONS" then assert.is_true(select(3, tr.live_bytes()) > 0) end
    end
  end)

  it("gives every block its own memory", function()
    local held, step = {}, 1
    local start = live()
    for i = 1, 1500 do
      step = step * 16807 % 2147483647
      local place = step % 23 + 1
      if held[place] then
        local t, value = held[place][1], held[place][2]
        assert.is_true(t:min():item() == value and t:max():item() == value)
        t:free()
        held[place] = nil
      else
        held[place] = { tr.full({ 9000 + step % 200000 }, i), i }
      end
    end
    held = nil -- luacheck: ignore
    assert.equal(start, live())
  end)

  it("returns to its start after graphs that were walked, and graphs that were not", function()
    local w = tr.rand(16, 16, { requires_grad = true })
    local x = tr.rand(4, 16)
    local start = live()
    for i = 1, 3000 do
      local loss = (x:matmul(w):tanh():pow(2)):mean()
      if i % 3 ~= 0 then loss:backward() end
    end
    w.grad = nil
    assert.equal(start, live())
  end)

  it("stays flat over 1,000 training steps", function()
    local nn, F = tr.nn, tr.nn.functional
    local net = nn.Sequential {
      nn.Conv2d(1, 8, 3, { padding = 1, bias = false }), nn.BatchNorm(8), nn.ReLU(),
      nn.Residual { nn.Conv2d(8, 8, 3, { padding = 1, bias = false }), nn.BatchNorm(8), nn.ReLU() },
      nn.MaxPool2d(2), nn.GlobalAvgPool(), nn.Linear(8, 3),
    }
    local x, labels = tr.rand(4, 8, 8, 1), tr.tensor({ 1, 2, 3, 1 }, { dtype = "i64" })
    local optimizer = tr.optim.Adam(net:parameters(), { lr = 1e-3 })
    local function steps(n)
      for _ = 1, n do
        local loss = F.cross_entropy(net(x), labels)
        optimizer:zero_grad()
        loss:backward()
        optimizer:step()
      end
    end
    steps(100) -- optimizer state, caches
    local start, before = live(), resident()
    steps(1000)
    local after = resident()
    assert.equal(start, live())
    if before then assert.is_true(after - before < 4096, ("resident memory grew by %d kB"):format(after - before)) end
  end)

  it("returns to its start after errors", function()
    local a, b = tr.rand(2, 3), tr.rand(4)
    local w = tr.rand(3, { requires_grad = true })
    local start = live()
    for _ = 1, 2000 do
      pcall(function() return a + b end)
      pcall(function() return a:reshape(7) end)
      pcall(function() return tr.cat { a, b } end)
      pcall(function() (w * w):backward() end)
      pcall(function() return tr.tensor { 1, 2, "x" } end)
    end
    assert.equal(start, live())
  end)

  it("is given back by free, by <close> and by the collector", function()
    local start = live()
    local t = tr.zeros(1000, 1000)
    local held = tr.live_bytes()
    assert.is_true(held - start >= 4000000)
    t:free()
    assert.is_true(tr.live_bytes() < held - 3999999)
    assert.error_matches(function() return t + 1 end, "the tensor was closed")
    assert.error_matches(function() return t:sum() end, "the tensor was closed")
    assert.error_matches(function() return t.dtype end, "the tensor was closed")
    t:free() -- a second time is fine
    do
      local scoped <close> = tr.zeros(1000, 1000)
      assert.is_true(tr.live_bytes() - start >= 4000000)
      assert.equal(1000, #scoped)
    end
    assert.is_true(tr.live_bytes() - start < 4000000)
    assert.equal(start, live())
  end)

  it("keeps what a view shows after its tensor was freed", function()
    local t = tr.ones(100)
    local view = t:slice(1, 3, 5)
    t:free()
    assert.same({ 1, 1, 1 }, view:totable())
  end)

  it("may run out, in forward or in backward: an error, after which all goes on", function()
    if os.getenv "ASAN_OPTIONS" then return pending "AddressSanitizer needs all of the address space" end
    local file = support.write_file(support.folder() .. "/out.lua", [[
      local tr = require "texres"
      local w = tr.ones(1, { requires_grad = true })
      local wide = w:expand(1 << 31) -- a view; 8 GB if it were not
      local part = wide:select(1, 5)
      collectgarbage()
      local start = tr.live_bytes()
      for _ = 1, 3 do
        local ok, message = pcall(function() return wide * 2 end)
        assert(not ok and message:find "mul: not enough memory", message)
        ok, message = pcall(tr.zeros, 1 << 31)
        assert(not ok and message:find "zeros: not enough memory", message)
      end
      collectgarbage()
      assert(tr.live_bytes() == start)
      local ok, message = pcall(part.backward, part)
      assert(not ok and message:find "not enough memory", message)
      assert(tr.grad_enabled())
      w:mul(3):backward(tr.ones(1))
      assert(w.grad:item() == 3)
      io.write "went on"
    ]])
    local ok, output = support.run { "sh", "-c", "ulimit -v 6000000 && exec " .. support.lua .. " " .. file }
    assert.is_true(ok, output)
    assert.equal("went on", output)
  end)

  it("refuses sizes that overflow or that nobody has", function()
    for _, shape in ipairs { { 1 << 62, 4 }, { 1 << 31, 1 << 31, 1 << 31 }, { math.maxinteger } } do
      assert.error_matches(function() return tr.zeros(shape) end, "zeros: .*more than memory can address")
    end
    assert.error_matches(function() return tr.zeros(1 << 50) end, "zeros: ")
    assert.error_matches(function() return tr.zeros(2, -1) end, "zeros: .*size %-1 in dimension 2 is negative")
    assert.error_matches(function() return tr.ones(1):expand(1 << 62, 1 << 62) end,
      "expand: .*more than memory can address")
    assert.error_matches(function() return tr.ones(1):expand(1 << 55):contiguous() end, "contiguous: ")
    assert.error_matches(function() return tr.ones(1):expand(1 << 55) + 1 end, "add: ")
  end)
end)
