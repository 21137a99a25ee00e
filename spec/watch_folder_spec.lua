--- A folder that is watched: texres.line.folder. Each file once, also after a restart; what can't be read is told.
local core = require "texres.core"
local support = require "spec.support"
local tr = require "texres"

local line = tr.line

local PICTURES = {} -- bytes of a PNG of each brightness

local function picture(value)
  if not PICTURES[value] then
    local path = os.tmpname() .. ".png"
    assert(tr.write_png(path, tr.full({ 4, 4 }, value, { dtype = "u8" })))
    PICTURES[value] = support.read_file(path)
    os.remove(path)
  end
  return PICTURES[value]
end

-- As cameras do: written under another name, then moved to its own.
local function put(folder, name, value)
  support.write_file(folder .. "/." .. name, picture(value))
  assert(os.rename(folder .. "/." .. name, folder .. "/" .. name))
end

local function age(path) assert(os.execute(("touch -d '1 hour ago' '%s'"):format(path))) end

-- What a source gives until nothing comes for a moment: a list of names, and of their first pixels or messages.
local function take(source, wait)
  local names, seen, told = {}, {}, {}
  source.tell = function(...) told[#told + 1] = (...):format(select(2, ...)) end
  local till = core.clock() + (wait or 0.25)
  while core.clock() < till do
    local file = source:next(0.05)
    if file then
      names[#names + 1], seen[#seen + 1] = file.name, file.image and file.image[1][1][1]:item() or file.message
      source:done(file)
    end
  end
  return names, seen, told
end

describe("a watched folder", function()
  it("gives what is there, in the order in which it was written, and what comes, each once", function()
    local folder = support.folder()
    put(folder, "b.png", 2)
    age(folder .. "/b.png")
    assert(os.execute(("touch -d '30 min ago' '%s/x'"):format(folder))) -- is no picture
    put(folder, "a.png", 1)
    assert(os.execute(("touch -d '10 min ago' '%s/a.png'"):format(folder)))
    local source = assert(line.folder(folder))
    assert.same({ "b.png", "a.png" }, (take(source)))
    put(folder, "c.png", 3)
    support.write_file(folder .. "/d.png", picture(4))
    local names, seen = take(source)
    assert.same({ "c.png", "d.png" }, names)
    assert.same({ 3, 4 }, seen)
    assert.same({}, (take(source)))
    source:close()
  end)

  it("gives what has been written again anew, and nothing else", function()
    local folder = support.folder()
    local source = assert(line.folder(folder))
    put(folder, "a.png", 1)
    assert.same({ "a.png" }, (take(source)))
    io.open(folder .. "/a.png", "a"):close() -- closed after writing, but nothing was written
    assert.same({}, (take(source)))
    put(folder, "a.png", 9)
    local names, seen = take(source)
    assert.same({ "a.png" }, names)
    assert.same({ 9 }, seen)
    source:close()
  end)

  it("gives after a restart what has not been done, whatever its name", function()
    local folder = support.folder()
    for i, name in ipairs { "a.png", "with space %41.png", "new\nline.png", "never done.png" } do
      put(folder, name, i)
      assert(os.execute(("touch -d '%d min ago' '%s/%s'"):format(60 - i, folder, name)))
    end
    local source = assert(line.folder(folder))
    for _ = 1, 3 do source:done((source:next(0.1))) end
    assert.equal("never done.png", source:next(0.1).name)
    -- killed here: nothing is closed, but the lock goes with the process
    getmetatable(source.journal.lock).__close(source.journal.lock)
    local again = assert(line.folder(folder))
    assert.same({ "never done.png" }, (take(again)))
    again:close()
    again = assert(line.folder(folder))
    assert.same({}, (take(again)))
    again:close()
  end)

  it("keeps its memory where it is told to, through torn lines, and forgets files that are gone", function()
    local folder, memory = support.folder(), support.folder() .. "/done"
    put(folder, "a.png", 1)
    put(folder, "b.png", 1)
    age(folder .. "/a.png")
    age(folder .. "/b.png")
    local source = assert(line.folder(folder, { memory = memory }))
    assert.equal(2, #take(source))
    source:close()
    local file = io.open(memory, "a")
    file:write "123 45"
    file:close()
    os.remove(folder .. "/a.png")
    source = assert(line.folder(folder, { memory = memory }))
    assert.same({}, (take(source)))
    source:close()
    assert.matches("^%d+ %d+ b.png\n$", support.read_file(memory))
    assert.is_false(support.exists(folder .. "/.texres-done"))
  end)

  it("tells where its memory is damaged, and does again what is missing there", function()
    local folder = support.folder()
    for _, name in ipairs { "a.png", "b.png", "c.png" } do
      put(folder, name, 1)
      age(folder .. "/" .. name)
    end
    local source = assert(line.folder(folder))
    assert.equal(3, #take(source))
    source:close()
    local path = folder .. "/.texres-done"
    support.write_file(path, (support.read_file(path):gsub("^%d+", "\0")))
    source = assert(line.folder(folder))
    local names, _, told = take(source)
    assert.same({ { "a.png" }, { path .. ": 1 line is damaged: files that are missing in it are done again" } },
      { names, told })
    source:close()
  end)

  it("goes on while its memory can't be written, tells so once, and writes it as soon as there is room", function()
    local folder, memory = support.folder(), support.folder() .. "/done"
    local source = assert(line.folder(folder, { memory = memory, every = 0.1 }))
    local write_file, file, room, all = core.write_file, source.journal.outlet, 5, {} -- bytes that the disk still has
    local outlet = { closed = false }
    function outlet.write(_, text, from)
      local taken = file:write(text:sub(1, room), from)
      room = room - taken
      return taken, taken < #text and "No space left on device" or nil
    end
    function outlet.close() outlet.closed = true end
    source.journal.outlet = outlet
    rawset(core, "write_file", function() return nil, "No space left on device" end)
    local function seen(name)
      put(folder, name, 1)
      local names, _, told = take(source)
      table.move(told, 1, #told, #all + 1, all)
      return table.concat(names, " ")
    end
    local ok, names = pcall(function()
      local list = { seen "a.png", seen "b.png" }
      room = 1000
      list[3] = seen "c.png"
      return list
    end)
    rawset(core, "write_file", write_file)
    assert.is_true(ok, names)
    assert.same({ "a.png", "b.png", "c.png" }, names)
    assert.same({ memory .. ": No space left on device; files may be done twice after a restart" }, all)
    assert.is_false(outlet.closed)
    assert.matches("^[%d ]+\n%d+ %d+ c.png\n$", support.read_file(memory)) -- behind the torn line one of its own
    take(source)
    assert.is_true(outlet.closed)
    assert.matches("^%d+ %d+ a.png\n%d+ %d+ b.png\n%d+ %d+ c.png\n$", support.read_file(memory))
    source:close()
  end)

  it("is worked on by one process at a time", function()
    local folder = support.folder()
    local source = assert(line.folder(folder))
    local none, message = line.folder(folder)
    assert.is_nil(none)
    assert.matches("is at work here", message)
    source:close()
  end)

  it("tells of files that are no pictures inside, and goes on", function()
    local folder = support.folder()
    local source = assert(line.folder(folder))
    support.write_file(folder .. "/cut.png", picture(5):sub(1, -9))
    support.write_file(folder .. "/empty.png", "")
    put(folder, "good.png", 7)
    local names, seen = take(source)
    assert.same({ "cut.png", "empty.png", "good.png" }, names)
    assert.matches("^" .. folder .. "/cut.png: ", seen[1])
    assert.matches("^" .. folder .. "/empty.png: ", seen[2])
    assert.equal(7, seen[3])
    source:close()
  end)

  it("drops what comes while too many wait, where that is the policy, but nothing that was there", function()
    local folder = support.folder()
    for i = 1, 4 do
      put(folder, i .. ".png", i)
      age(folder .. "/" .. i .. ".png")
    end
    local source = assert(line.folder(folder, { late = "drop", room = 2 }))
    put(folder, "5.png", 5)
    local names, _, told = take(source)
    assert.same({ "1.png", "2.png", "3.png", "4.png" }, names)
    assert.same({ folder .. "/5.png: dropped, as 2 files waited" }, told)
    assert.equal(1, source:counts().dropped)
    assert.equal(2, source:counts().delayed)
    put(folder, "6.png", 6)
    assert.same({ "6.png" }, (take(source)))
    source:close()
  end)

  it("is looked through where the system tells of nothing: a file is whole when it has not changed for a while",
    function()
      local folder = support.folder()
      local source = assert(line.folder(folder))
      source.watch:close()
      source.watch = { wait = function(_, seconds)
        core.pause(seconds)
        return {}, false, false
      end, is_told = function() return false end, close = function() end }
      source.next_look = 0
      put(folder, "old.png", 1)
      age(folder .. "/old.png")
      support.write_file(folder .. "/growing.png", picture(2):sub(1, 20))
      assert.same({ "old.png" }, (take(source, 0.2)))
      support.write_file(folder .. "/growing.png", picture(2))
      source.next_look = 0
      assert.same({}, (take(source, 0.2)))
      source.next_look = 0
      assert.same({}, (take(source, 0.2))) -- it has not changed since, but who writes it may only be slow
      source.growing["growing.png"].since = core.clock() - 3
      source.next_look = 0
      local names, seen = take(source, 0.2)
      assert.same({ "growing.png" }, names)
      assert.same({ 2 }, seen)
      source:close()
    end)

  it("is looked through when more came than the system keeps", function()
    local folder = support.folder()
    local source = assert(line.folder(folder))
    local watch, missed = source.watch, true
    source.watch = setmetatable({ wait = function(_, seconds)
      watch:wait(seconds) -- lost
      local now = missed
      missed = false
      return {}, now, false
    end }, { __index = function(_, name) return function(_, ...) return watch[name](watch, ...) end end })
    put(folder, "a.png", 1)
    age(folder .. "/a.png")
    assert.same({ "a.png" }, (take(source)))
    source:close()
  end)

  it("that goes away is told, and used again when it is back", function()
    local folder = support.folder()
    local source = assert(line.folder(folder, { memory = false }))
    assert(os.rename(folder, folder .. "-away"))
    local _, _, told = take(source)
    assert.equal(1, #told)
    assert.equal(folder .. ": is no longer there; it is looked for again every second", told[1])
    put(folder .. "-away", "a.png", 1)
    age(folder .. "-away/a.png")
    assert(os.rename(folder .. "-away", folder))
    source.next_look = 0
    local names
    names, _, told = take(source)
    assert.same({ "a.png" }, names)
    assert.matches("is there again", told[1])
    source:close()
  end)

  it("that is none is refused", function()
    local none, message = line.folder "/nowhere/at/all"
    assert.is_nil(none)
    assert.equal("/nowhere/at/all: No such file or directory", message)
    none, message = line.folder "/etc/passwd"
    assert.is_nil(none)
    assert.equal("/etc/passwd: Not a directory", message)
  end)
end)

describe("a list of files", function()
  it("takes paths from standard input, and what can't be read is told", function()
    local folder = support.folder()
    put(folder, "a.png", 1)
    local ok, out = support.run { "bash", "-c", ([[(echo %s/a.png; sleep 0.1; printf '%s/none.png') | %s -e '
      local line = require("texres").line
      line.run({ frame = function(_, image, about) return { name = about.name, first = image:max():item() } end },
        line.files { "-", "%s/a.png" }, { every = false, write = function(result)
          return result.name .. " " .. (result.message or result.first) .. "\n" end })']]):format(folder, folder,
      support.lua, folder) }
    assert.is_true(ok)
    assert.matches(("^%s/a.png 1\n"):format(folder), out)
    assert.matches(("\n%s/none.png %s/none.png: No such file"):format(folder, folder), out)
    assert.matches(("%s/a.png 1\n$"):format(folder), out)
  end)
end)

describe("a run over a folder", function()
  it("notes a file as done only when its results are out", function()
    local folder, out = support.folder(), support.folder()
    put(folder, "a.png", 1)
    age(folder .. "/a.png")
    local function run()
      local source = assert(line.folder(folder))
      local sink, done = line.to_file(out .. "/later/results"), 0
      line.run({ frame = function(_, _, about)
        done = done + 1
        source:stop()
        return about
      end }, source, { sinks = { sink }, report = function() end, every = false, patience = 0 })
      return done
    end
    assert.equal(1, run()) -- the folder of the results is missing, and its line is lost with the end of the run
    assert(core.process.make_folder(out .. "/later"))
    assert.equal(1, run())
    assert.matches('"a.png"', support.read_file(out .. "/later/results"))
  end)
end)
