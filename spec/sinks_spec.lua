--- Where the results of a line go: texres.line.to_file, to_command, to_output. A sink that can't be written to keeps
-- what it was given, within its bound, and counts what is lost.
local core = require "texres.core"
local support = require "spec.support"
local tr = require "texres"

local line = tr.line

local function told(sink)
  local list = {}
  sink.tell = function(...) list[#list + 1] = (...):format(select(2, ...)) end
  return list
end

local function until_true(f)
  local till = core.clock() + 3
  while not f() and core.clock() < till do core.pause(0.02) end
  return f()
end

describe("a file", function()
  it("is appended to, line by line, and each is there at once", function()
    local path = support.write_file(support.folder() .. "/out", "before\n")
    local sink = line.to_file(path)
    assert.equal(1, sink:put "one\n")
    assert.equal("before\none\n", support.read_file(path))
    assert.equal(2, sink:put "two\n")
    assert.is_true(sink:is_out(2))
    assert.is_true(sink:finish(0))
    assert.equal("before\none\ntwo\n", support.read_file(path))
  end)

  it("whose last line was left unfinished gets an end of line first", function()
    local path = support.write_file(support.folder() .. "/out", "whole\nto")
    local sink = line.to_file(path)
    sink:put "one\n"
    sink:finish(0)
    assert.equal("whole\nto\none\n", support.read_file(path))
  end)

  it("that was moved away is made anew", function()
    local path = support.folder() .. "/out"
    local sink = line.to_file(path)
    sink:put "one\n"
    os.rename(path, path .. ".1")
    sink:put "two\n"
    sink:finish(0)
    assert.equal("one\n", support.read_file(path .. ".1"))
    assert.equal("two\n", support.read_file(path))
  end)

  it("on a full disk is told once; what finds no room in the end is lost, and counted", function()
    local sink = line.to_file("/dev/full", { room = 3 })
    local list = told(sink)
    for i = 1, 5 do assert.equal(i <= 3 and i or nil, sink:put(i .. "\n")) end
    assert.equal(3, sink:waiting())
    assert.equal(2, sink.lost)
    assert.same({ "/dev/full: No space left on device; results are kept until it takes them, at most 3 or 16 MB" },
      list)
    local ok, message = sink:finish(0)
    assert.is_nil(ok)
    assert.equal("/dev/full: 5 results are lost: No space left on device", message)
  end)

  it("on a full disk keeps no more than 16 MB, however long the lines are", function()
    local sink, long = line.to_file "/dev/full", ("-"):rep(2 ^ 20 - 1) .. "\n"
    told(sink)
    for i = 1, 20 do assert.equal(i <= 16 and i or nil, sink:put(long)) end
    assert.equal(4, sink.lost)
  end)

  it("gives the memory of what was kept back when it is out", function()
    if os.getenv "ASAN_OPTIONS" or os.getenv "TSAN_OPTIONS" or not io.open "/proc/self/status" then return end
    local function resident() return tonumber(support.read_file("/proc/self/status"):match "VmRSS:%s*(%d+)") end
    local folder = support.folder()
    local sink = line.to_file(folder .. "/later/out", { room = 60000 })
    told(sink)
    collectgarbage()
    tr.trim_memory()
    local between, before = {}, resident()
    for i = 1, 60000 do
      sink:put(("%d %s\n"):format(i, ("-"):rep(200)))
      if i % 100 == 0 then between[#between + 1] = { i } end -- what stays, and holds the heap's end
    end
    local most = resident()
    assert(core.process.make_folder(folder .. "/later"))
    sink.retry = 0
    assert.is_true(sink:pump())
    assert.equal(0, sink:waiting())
    assert.is_true(most - before > 10000, most - before)
    assert.is_true(resident() - before < 3000, resident() - before)
    assert.equal(600, #between)
  end)

  it("in a folder that comes later gets what was kept, in order", function()
    local folder = support.folder()
    local sink = line.to_file(folder .. "/later/out")
    local list = told(sink)
    sink:put "one\n"
    sink:put "two\n"
    assert.equal(2, sink:waiting())
    assert(core.process.make_folder(folder .. "/later"))
    sink.retry = 0 -- it would try again in a second
    sink:put "three\n"
    assert.equal("one\ntwo\nthree\n", support.read_file(folder .. "/later/out"))
    assert.equal(2, #list)
    assert.matches("results are written again; 0 are lost", list[2])
    assert.is_true(sink:finish(0))
  end)

  it("on a disk of its own that is full is gone on with where it was left when there is room", function()
    local folder = support.folder()
    if not os.execute(("mount -t tmpfs -o size=64k tmpfs %s 2>/dev/null"):format(folder)) then
      return pending "mounting a small disk is not allowed here"
    end
    local path, count = folder .. "/out", 0
    local sink = line.to_file(path)
    told(sink)
    support.write_file(folder .. "/other", ("x"):rep(40000))
    while sink:waiting() == 0 do
      count = count + 1
      sink:put(("%04d %s\n"):format(count, ("-"):rep(94)))
    end
    sink:put "last\n"
    os.remove(folder .. "/other")
    assert.is_true(sink:pump())
    assert.is_true(sink:finish(0))
    local number = 0
    for text in io.lines(path) do
      number = number + 1
      if number <= count then assert.equal(("%04d %s"):format(number, ("-"):rep(94)), text) end
    end
    os.execute("umount " .. folder)
    assert.equal(count + 1, number)
  end)
end)

describe("a command", function()
  it("gets each line on its standard input, and sees its end", function()
    local path = support.folder() .. "/out"
    local sink = line.to_command(("cat >%s; echo end >>%s"):format(path, path))
    sink:put "one\n"
    sink:put "two\n"
    assert.is_true(sink:finish(2))
    assert.equal("one\ntwo\nend\n", support.read_file(path))
  end)

  it("that ends is told of, with how, and started again", function()
    local path = support.folder() .. "/out"
    local sink = line.to_command(("head -n 1 >>%s; exit 3"):format(path))
    local list = told(sink)
    sink:put "one\n"
    assert.is_true(until_true(function()
      sink:put "more\n"
      return #list > 0
    end))
    assert.matches("nobody reads it any more", list[1])
    assert.matches("what it had not read yet is lost; it is started again; it ended with status 3$", list[2])
    sink.retry = 0
    assert.is_true(until_true(function() return sink:pump() end))
    sink:finish(2)
    assert.matches("^one\nmore\n", support.read_file(path))
  end)

  it("that reads nothing for long is killed and started again; no line is written to it in part", function()
    local path = support.folder() .. "/out"
    local sink = line.to_command(("[ -e %s ] || { touch %s; exec sleep 9; }; exec cat >>%s"):format(path, path, path),
      { patience = 0.05 })
    local list = told(sink)
    local text = ("y"):rep(9999) .. "\n"
    for _ = 1, 12 do sink:put(text) end -- more than a pipe holds
    assert.is_true(sink:waiting() > 0)
    assert.is_true(until_true(function()
      sink:pump()
      return #list >= 2
    end))
    assert.matches("it has taken nothing for", list[1])
    local kept = sink:waiting()
    sink.retry = 0
    assert.is_true(until_true(function() return sink:pump() end))
    assert.is_true(sink:finish(2))
    assert.equal(text:rep(kept), support.read_file(path))
  end)

  it("whose end is no success, or does not come, is a failure of the whole", function()
    local sink = line.to_command "cat >/dev/null; exit 4"
    sink:put "one\n"
    assert.same({ nil, "cat >/dev/null; exit 4: it ended with status 4" }, { sink:finish(2) })
    sink = line.to_command "cat >/dev/null; sleep 9"
    sink:put "one\n"
    local _, message = sink:finish(0.1)
    assert.matches("it did not end within 0 s of the end of its input, and was killed", message)
  end)
end)

describe("a run", function()
  local SCRIPT = [[
    local line = require("texres").line
    local totals = line.run({ frame = function(_, _, about) return about end },
      assert(line.frames("-", { 1, 4 })), { SINKS every = false, OPTIONS report = function(text)
        io.stderr:write(text, "\n") end, patience = 0.2 })
    io.stderr:write(("%d frames, %d lost, ended: %s\n"):format(totals.frames, totals.lost, totals.ended))
  ]]

  local function run(shell, sinks, options)
    local source = SCRIPT:gsub("SINKS", sinks or ""):gsub("OPTIONS", options or "")
    local script = support.write_file(os.tmpname(), source)
    local _, out = support.run { "bash", "-c", (shell:gsub("RUN", support.lua .. " " .. script)) }
    os.remove(script)
    return out
  end

  it("writes its results to standard output, as JSON", function()
    local out = run "printf 'abcdefgh' | RUN"
    assert.matches('^{"name":"frame 1","position":0}\n{"name":"frame 2","position":1}\n', out)
    assert.matches("\n2 frames, 0 lost, ended: nil", out)
  end)

  it("ends when nobody reads its standard output any more", function()
    local out = run "yes abc | RUN | head -n 1"
    assert.matches('"frame 1"', out)
    assert.matches("standard output: nobody reads it any more", out)
    assert.matches("ended: standard output: nobody reads it any more", out)
  end)

  it("goes on while the disk is full, or ends where that is asked for", function()
    local out = run("printf 'abcdefghijkl' | RUN", 'sinks = { line.to_file "/dev/full" },')
    assert.matches("3 frames, 3 lost, ended: nil", out)
    out = run("(printf 'abcdefgh'; sleep 0.4; printf 'abcd') | RUN", 'sinks = { line.to_file "/dev/full" },',
      'unwritten = "end",')
    local frames, lost = out:match "(%d) frames, (%d) lost, ended: /dev/full: No space left on device"
    assert.is_true(frames == lost and (frames == "1" or frames == "2"), out) -- as many as had come by then
  end)
end)
