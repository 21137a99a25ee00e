--- Raw frames from a pipe: texres.line.frames and what texres.line.run does with them.
local support = require "spec.support"
local tr = require "texres"

local line = tr.line

-- A scanner that finds a defect in each frame whose first byte is above 200, and raises for 13.
local function scanner(pause)
  return { frame = function(_, image, about)
    if pause then require("texres.core").pause(pause) end
    local first = image[1][1][1]:item()
    if first == 13 then error("frame: thirteen is not wanted", 0) end
    return { name = about.name, first = first, defects = first > 200 and { {} } or {} }
  end }
end

local function frame(first, bytes) return string.char(first) .. ("\99"):rep(bytes - 1) end

local function quiet(list) return function(text) list[#list + 1] = text end end

-- Runs frames in a file; the totals, the lines of the results, what was told.
local function run(bytes, options, pause)
  local path, told, lines = support.write_file(os.tmpname(), bytes), {}, {}
  local out = os.tmpname()
  local source = assert(line.frames(path, { 2, 3 }, options))
  local totals = line.run(scanner(pause), source, {
    sinks = { line.to_file(out) }, every = false, report = quiet(told),
    write = function(result) return ("%s %s\n"):format(result.name, result.message or result.first) end,
  })
  for text in io.lines(out) do lines[#lines + 1] = text end
  os.remove(path)
  os.remove(out)
  return totals, lines, told
end

describe("raw frames", function()
  it("come in order, each whole", function()
    local totals, lines, told = run(frame(1, 6) .. frame(2, 6) .. frame(250, 6))
    assert.same({ "frame 1 1", "frame 2 2", "frame 3 250" }, lines)
    assert.same({}, told)
    assert.equal(3, totals.frames)
    assert.equal(1, totals.defects)
    assert.equal(0, totals.bad + totals.dropped + totals.lost + totals.short)
    assert.is_nil(totals.ended)
  end)

  it("say where on the roll they begin, in rows", function()
    local path, at = support.write_file(os.tmpname(), frame(1, 6) .. ("\0"):rep(6) .. frame(3, 6)), {}
    line.run({ frame = function(_, _, about)
      at[#at + 1] = about.position
      return {}
    end }, assert(line.frames(path, { 2, 3 })), { sinks = {}, every = false, report = function() end })
    os.remove(path)
    assert.same({ 0, 4 }, at)
  end)

  it("have the shape that was asked for, row by row", function()
    local path = support.write_file(os.tmpname(), "abcdefghijkl")
    local source, image = assert(line.frames(path, { 2, 2, 3 })), nil
    line.run({ frame = function(_, x)
      image = x
      return {}
    end }, source, { sinks = {}, every = false })
    os.remove(path)
    assert.same({ 2, 2, 3 }, image:shape())
    assert.equal("u8", image.dtype)
    assert.same({ 97, 98, 99 }, image[1][1]:totable())
    assert.same({ 106, 107, 108 }, image[2][2]:totable())
  end)

  it("that are cut short at the end are told, with their number", function()
    local totals, lines, told = run(frame(1, 6) .. "abc")
    assert.equal(1, #lines)
    assert.equal(1, totals.short)
    assert.equal(1, #told)
    assert.matches("frame 2 is cut short: 3 bytes of it came$", told[1])
  end)

  it("without a picture, and those that can't be scanned, are bad and passed over", function()
    local totals, lines, told = run(frame(1, 6) .. ("\0"):rep(6) .. frame(13, 6) .. frame(4, 6))
    assert.same({ "frame 1 1", "frame 2 frame 2: all bytes are 0: no picture",
      "frame 3 frame 3: frame: thirteen is not wanted",
      "frame 4 4" }, lines)
    assert.equal(2, totals.bad)
    assert.equal(4, totals.frames)
    assert.equal(2, #told)
  end)

  it("wait for a scanner that is slow, and are counted", function()
    local bytes = {}
    for i = 1, 12 do bytes[i] = frame(i, 6) end
    local totals, lines, told = run(table.concat(bytes), { room = 2 }, 0.02)
    assert.equal(12, #lines)
    assert.is_true(totals.delayed >= 8 and totals.delayed <= 10)
    assert.is_true(totals.waited > 0 and totals.longest <= totals.waited)
    assert.equal(0, totals.dropped)
    assert.matches("delayed, as the queue was full: frames [34][%d%-, ]*12", table.concat(told, "\n"))
  end)

  it("are dropped where that is the policy: what is left has its own numbers", function()
    local bytes = {}
    for i = 1, 40 do bytes[i] = frame(i, 6) end
    local totals, lines, told = run(table.concat(bytes), { room = 3, late = "drop" }, 0.01)
    assert.equal(40, totals.read)
    assert.equal(40, totals.frames + totals.dropped)
    assert.equal(#lines, totals.frames)
    assert.is_true(totals.dropped >= 30)
    for _, text in ipairs(lines) do
      local number, first = text:match "^frame (%d+) (%d+)$"
      assert.equal(number, first)
    end
    assert.matches("dropped, as the queue was full: frames %d+%-%d+", table.concat(told, "\n"))
  end)

  it("are counted while they come", function()
    local path, told = support.write_file(os.tmpname(), (frame(1, 6)):rep(60)), {}
    line.run(scanner(0.002), assert(line.frames(path, { 2, 3 }, { room = 2 })),
      { sinks = {}, every = 0.001, report = quiet(told) })
    os.remove(path)
    local last = 0
    for _, text in ipairs(told) do
      local done = math.tointeger(tonumber(text:match "^(%d+) frames done, .* 0 dropped, "))
      assert.is_true(not done or done >= last)
      last = done or last
    end
    assert.equal(60, last)
    assert.is_true(#told > 60)
  end)

  it("that come in pieces are put together", function()
    local pipe = os.tmpname()
    os.remove(pipe)
    assert(os.execute("mkfifo " .. pipe))
    os.execute(("(printf 'abc'; sleep 0.05; printf 'defgh'; sleep 0.05; printf 'ijkl') >%s &"):format(pipe))
    local source, seen = assert(line.frames(pipe, { 1, 6 })), {}
    line.run({ frame = function(_, x)
      seen[#seen + 1] = string.char(table.unpack(x:flatten():totable()))
      return {}
    end }, source, { sinks = {}, every = false })
    os.remove(pipe)
    assert.same({ "abcdef", "ghijkl" }, seen)
  end)

  it("refuse shapes and paths that are none", function()
    assert.has_error(function() line.frames("-", { 4 }) end)
    assert.has_error(function() line.frames("-", { 4, 0 }) end)
    assert.has_error(function() line.frames("-", { 4, 4 }, { late = "later" }) end)
    local source, message = line.frames("/nowhere/at/all", { 4, 4 })
    assert.is_nil(source)
    assert.equal("/nowhere/at/all: No such file or directory", message)
    source, message = line.frames("/tmp", { 4, 4 })
    assert.is_nil(source)
    assert.equal("/tmp: is a folder, a file or a pipe of frames is wanted", message)
  end)
end)

describe("a run is ended", function()
  local CHILD = [[
    local line = require("texres").line
    local totals = line.run({ frame = function(_, _, about)
      require("texres.core").pause(0.02)
      return about
    end }, assert(line.frames("-", { 1, 4 })), { every = "1 h", report = function(text) print(text) end,
      write = function(result) return result.name .. "\n" end })
    print("ended by " .. tostring(totals.ended) .. ", " .. totals.frames)
  ]]

  -- What a child says that reads a pipe which stays open: `bytes` come at first. When it has said `sign` it is sent a
  -- signal, and the shell does what stands in `after`; its status is told.
  local function ended(script, bytes, sign, signal, after)
    local folder = support.folder()
    support.write_file(folder .. "/script", script)
    local _, out = support.run { "bash", "-c", ([[D=%s; mkfifo $D/pipe; exec 3<>$D/pipe; printf '%s' >&3
      %s $D/script <&3 >$D/out 2>&1 & child=$!
      for try in {1..500}; do grep -qs '%s' $D/out && break; sleep 0.02; done
      sleep 0.3 # in which the frame that has begun is read
      kill -%s $child; %s
      wait $child; echo "status $?"; cat $D/out]]):format(folder, bytes, support.lua, sign, signal, after or "") }
    return out
  end

  for signal, name in pairs { INT = "Ctrl%-C", TERM = "SIGTERM" } do
    it("by " .. name:gsub("%%", "") .. " while it waits, when what has come is done", function()
      local out = ended(CHILD, "abcdabcdabcdab", "frame 3", signal)
      assert.matches("^status 0\nframe 1\nframe 2\nframe 3\n", out)
      assert.matches("frame 4 is cut short: 2 bytes of it came before the end was asked for", out)
      assert.matches("ended by " .. name .. ", 3\n", out)
    end)
  end

  it("when the frame that has begun is whole: who reads the pipe next begins with a whole one", function()
    local out = ended(CHILD, "abcdab", "frame 1", "TERM", "sleep 0.2; printf cdefgh >&3; wait $child; head -c 4 <&3")
    assert.matches("^efghstatus 0\nframe 1\nframe 2\n", out)
    assert.matches("\nended by SIGTERM, 2\n$", out)
    assert.is_nil(out:find("cut short", 1, true))
  end)

  it("before its first frame is waited for: then nothing was read", function()
    local _, out = support.run { "bash", "-c", ([[printf 'abcd' | %s -e '
      local source = require("texres").line.frames("-", { 1, 4 })
      require("texres.core").pause(0.2)
      source:close()
      print(io.read "a")']]):format(support.lua) }
    assert.equal("abcd\n", out)
  end)

  it("and signals are what they were before", function()
    local out = ended([[
      local line = require("texres").line
      line.run({ frame = function() return {} end }, assert(line.frames("/dev/null", { 1, 4 })), { every = false })
      io.write "run over " io.flush() require("texres.core").pause(5)]], "", "run over", "TERM")
    assert.matches("^status 143\nrun over ", out)
  end)
end)
