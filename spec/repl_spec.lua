--- The prompt: editing, completion, values, history, and the program as it is used, through a pipe and a terminal.
local tr = require "texres"
local complete = require "texres.repl.complete"
local Editor = require "texres.repl.editor"
local reader = require "texres.repl.reader"
local support = require "spec.support"
local value = require "texres.repl.value"
local width = require "texres.repl.width"

describe("editing", function()
  --- The line that comes of keys, and what the terminal was written.
  local function edit(keys, parts)
    parts = parts or {}
    local written = {}
    local editor = Editor {
      keys = function()
        local bytes = keys
        keys = nil
        return bytes
      end,
      write = function(text) written[#written + 1] = text end,
      columns = function() return parts.columns or 80 end,
      complete = parts.complete or function(_, at) return at, {}, {} end,
      history = parts.history or {},
    }
    return editor:line "> ", table.concat(written), editor
  end

  it("moves, erases and puts in, by characters and by words", function()
    for keys, line in pairs {
      ["abc\r"] = "abc", ["bc\1a\5d\r"] = "abcd", ["ac\27[Db\r"] = "abc", ["ab\2\2\6c\r"] = "acb",
      ["abc\127\8\r"] = "a",
      ["äöü\27[D\127\r"] = "äü", ["äöü\1\27[3~\r"] = "öü", ["äöü\1\4\r"] = "öü", ["a.bc de\27bX\27bY\r"] = "a.bc YXde",
      ["ab cd\1\27fX\r"] = "abX cd", ["ab cd\27[1;5D\27[1;5DX\r"] = "Xab cd", ["ab cd\23x\r"] = "ab x",
      ["abcd\2\2\11\r"] = "ab", ["abcd\2\2\21\r"] = "cd", ["abcd\2\2\11\1\25\r"] = "cdab", ["ab cd\1\27d\r"] = " cd",
      ["ab\27[H1\27[F2\27OH3\r"] = "31ab2", ["a\27[99~b\27\27c\0d\r"] = "abd", ["a\nb"] = "a",
    } do
      assert.equal(line, (edit(keys)), ("%q"):format(keys))
    end
  end)

  it("ends with Ctrl-D on an empty line, and where the keys do", function()
    assert.is_nil((edit "\4"))
    assert.is_nil((edit "ab"))
    assert.is_nil((edit "ab\21\4"))
  end)

  it("goes through the history, and back to what was typed", function()
    local function recall(keys) return (edit(keys, { history = { "one", "two" } })) end
    assert.equal("two", recall "\27[A\r")
    assert.equal("one", recall "\16\16\16\r")
    assert.equal("mine", recall "mine\16\16\14\14\14\r")
    assert.equal("one", recall "\18n\r")
    assert.equal("two!", recall "\18o\5!\r") -- the newest that holds it
    assert.equal("one", recall "\18o\18\r")
    assert.equal("two", recall "\18on\127\r")
    assert.equal("typed", recall "typed\18\7\r")
  end)

  it("completes what is common, then lists", function()
    local parts = { columns = 30, complete = function(text, at)
      return at - #text:sub(1, at - 1):match "%w*$", { "Conv1d", "Conv2d" }, { "Conv1d", "Conv2d" }
    end }
    assert.equal("x = Conv2d", (edit("x = Co\t2d\r", parts)))
    local line, written = edit("Conv\t\r", parts)
    assert.equal("Conv", line)
    assert.matches("Conv1d  Conv2d\r\n", written)
    assert.equal("Co", (edit("Co\t\r")))
  end)

  it("takes what is pasted as it is, several lines one after the other", function()
    local line, _, editor = edit "\27[200~for\ti do\rend\27[201~\r"
    assert.equal("for  i do", line)
    assert.equal("end", editor:line ">> ")
  end)

  it("draws a line that is wider than the terminal over several rows", function()
    local _, written = edit(("x"):rep(18) .. "\1\r", { columns = 10 })
    assert.is_truthy(written:find("> " .. ("x"):rep(18) .. "\r\n\r", 1, true)) -- full rows: the cursor waits below
    assert.is_truthy(written:find("\27[2A\27[2C", 1, true)) -- Ctrl-A: two rows up, behind "> "
  end)

  it("knows that characters take no, one or two columns, and where a wide one does not fit", function()
    local _, written = edit("漢字\27[D\r", { columns = 20 })
    assert.is_truthy(written:find("> 漢字\r\27[4C", 1, true)) -- the cursor is on the second one
    _, written = edit("漢字漢字\1\r", { columns = 5 }) -- 3 columns left, so the second one is in the next row
    assert.is_truthy(written:find("> 漢字漢字\r\27[2A\27[2C", 1, true))
    assert.equal("xY", (edit "xe\u{301}\u{308}\127Y\r")) -- a letter with what stands on it is one
    assert.equal("Ye\u{301}", (edit "e\u{301}\27[DY\r"))
    for text, columns in pairs { [""] = 0, ["aä"] = 2, ["漢字かな한글"] = 12, ["😀✅"] = 4, ["e\u{301}"] = 1, ["─█"] = 2,
      ["\xC3"] = 1, ["a\xFF\xFE"] = 3 } do
      assert.equal(columns, width.of(text), text)
    end
  end)

  it("finds the beginning of a line that the terminal has broken anew since", function()
    local sizes = { 10, 40 }
    local keys = { ("x"):rep(30), "y", "\r" }
    local written = {}
    local editor = Editor {
      keys = function() return table.remove(keys, 1) end, write = function(text) written[#written + 1] = text end,
      columns = function() return #keys == 2 and sizes[1] or sizes[2] end, history = {},
    }
    editor:line "> "
    assert.is_truthy(written[2]:find("^\r\27%[J")) -- empty before
    assert.is_truthy(written[3]:find("^\r\27%[J")) -- 33 characters, which are one row now
  end)
end)

describe("completion", function()
  local environment = setmetatable({ tr = tr, x = tr.zeros(2, 3), set = tr.data.fabric { count = 2, size = 8 },
    net = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(4, 2) }, list = { { deep = { field = 1 } } }, text = "t",
    strange = setmetatable({}, { __index = function() error "never" end }) }, { __index = _G })

  --- The words that are offered behind a text, joined; and how much of it they replace.
  local function offered(text)
    local length, words = complete(text, environment)
    return table.concat(words, " "), length
  end

  it("knows variables and words of Lua", function()
    assert.same({ "select set setmetatable", 2 }, { offered "se" })
    assert.equal("repeat require return", (offered "x = 1 re"))
    assert.equal("tostring", (offered "f(tostr"))
    assert.equal("", (offered "unknown.a"))
    assert.equal("", (offered "3."))
  end)

  it("knows members: of the library also those that are made when they are first read", function()
    assert.equal("Trainer", (offered "tr.Tr"))
    assert.equal("Conv2d ConvTranspose2d", (offered "print(tr.nn.Conv"))
    assert.equal("Conv2d ConvTranspose2d", (offered "y = tr.nn.Conv"))
    assert.equal("deep", (offered "list[1]."))
    assert.equal("field", (offered "list[1].deep.f"))
    assert.equal("linear", (offered "list[tr.nn.functional.line"))
    assert.equal("", (offered "f(x).re"))
    assert.equal("", (offered "strange.a"))
  end)

  it("knows methods of tensors, sets, modules and texts, behind a colon functions alone", function()
    assert.equal("reshape", (offered "x:resh"))
    assert.equal("dtype", (offered "x.dt"))
    assert.equal("", (offered "x:dt"))
    assert.equal("describe", (offered "set:desc"))
    assert.equal("classes", (offered "set.class"))
    assert.equal("", (offered "set:class"))
    assert.matches("parameters", (offered "net:par"))
    assert.equal("weight weight_count", (offered "net[2].wei"))
    assert.equal("upper", (offered "text:upp"))
    assert.is_nil((offered "net."):find "%f[%w_]_")
    assert.matches("_order", (offered "net._or"))
  end)

  it("knows the options of a call, and what they may be", function()
    if not pcall(require, "texres.reference") then return pending "there is no reference" end
    assert.equal("momentum = ", (offered "tr.optim.SGD(net, { lr = 0.1, mom"))
    assert.equal("momentum = ", (offered "tr.optim.SGD(net, {\n  lr = f{1, 2},\n  mom"))
    assert.equal("epochs = ", (offered "tr.Trainer { ep"))
    assert.equal("bias = ", (offered "tr.nn.Linear(3, 4, {"))
    assert.equal("best last", (offered 'tr.Trainer { keep = "'))
    assert.equal("stratify = ", (offered "set:split { 0.8, strat"))
    assert.equal("tostring", (offered "tr.optim.SGD(net, { lr = tostr"))
    assert.matches("nn.Conv2d", (offered 'help "nn.Conv'))
  end)

  it("knows the functions of help()", function()
    assert.matches("conv2d", (offered "help 'conv2"))
  end)

  it("knows paths inside of a text, and nothing in comments", function()
    local folder = support.folder()
    support.write_file(folder .. "/one.npy", "")
    assert(os.execute("mkdir " .. folder .. "/other"))
    assert.equal(("%s/one.npy %s/other/"):format(folder, folder), (offered(('tr.data.open "%s/o'):format(folder))))
    assert.equal(#folder + 3, select(2, offered(("f('\\'', '%s/on"):format(folder))))
    assert.equal("", (offered '"/nowhere/at/all/x'))
    assert.equal("", (offered "-- se"))
    assert.equal("", (offered "[==[ se"))
    assert.equal("select set setmetatable", (offered "-- it's\n--[[ it's ]] [=[ ' ]=] se"))
  end)
end)

describe("a value at the prompt", function()
  local function shows(text, ...) assert.equal(text, value.all(table.pack(...))) end

  it("is shown as what it says of itself", function()
    shows("text\tnil\t1.5\ttrue", "text", nil, 1.5, true)
    shows("[1., 2.]\nf32 {2}\n3", tr.tensor { 1, 2 }, 3)
    shows("Linear(4, 2)", tr.nn.Linear(4, 2))
    shows("function, in C", print)
    assert.matches("^function%(a, b, %.%.%.%), .*repl_spec.lua:%d+$", value.text(function(_, _, ...) return ... end)
      :gsub("_, _", "a, b"))
  end)

  it("is a class by its name, also inside of a table", function()
    assert.equal("class Conv2d: help(it) tells more", value.text(tr.nn.Conv2d))
    assert.equal("{ class ReLU, 1 }", value.text { tr.nn.ReLU, 1 })
    local own = {}
    own.__index = own
    assert.equal("{ __index = { what it is inside of } }", value.text(own))
  end)

  it("of a plain table: its items, in one line where they fit", function()
    shows("{}", {})
    shows('{ 1, "a\\nb", x = { y = true } }', { 1, "a\nb", x = { y = true } })
    shows('{ b = 1, ["not a name"] = 2, [2.5] = 3 }', { ["not a name"] = 2, b = 1, [2.5] = 3 })
    shows("{ [1., 2.] f32 {2}, tensor f32 {3,3} }", { tr.tensor { 1, 2 }, tr.zeros(3, 3) })
    local inside = {}
    inside.me = inside
    shows("{ me = { what it is inside of } }", inside)
    shows("{ { { {...} } } }", { { { { 1 } } } })
    assert.equal("{ 1, 2, 3 }", value.text(tr.arange(1, 3):totable()))
    assert.matches("\n  %.%.%. 80 more\n}$", value.text((function()
      local names = {}
      for i = 1, 100 do names["name" .. i] = ("long"):rep(5) end
      return names
    end)()))
  end)
end)

describe("the history", function()
  it("stands in the user's folder for such", function()
    local function path(variables) return reader.history_path(function(name) return variables[name] end) end
    assert.equal("/state/texres/history", path { XDG_STATE_HOME = "/state", HOME = "/home/me" })
    assert.equal("/home/me/.local/state/texres/history", path { XDG_STATE_HOME = "relative", HOME = "/home/me" })
    assert.equal("/home/me/.local/state/texres/history", path { XDG_STATE_HOME = "", HOME = "/home/me" })
    assert.is_nil(path {})
  end)

  it("is cut when it has grown", function()
    local file, lines = support.folder() .. "/history", {}
    assert.same({}, reader.load_history(file))
    for i = 1, 2001 do lines[i] = "line " .. i end
    support.write_file(file, table.concat(lines, "\n") .. "\n")
    assert.equal("line 1002", reader.load_history(file)[1])
    local kept = reader.load_history(file)
    assert.same({ 1000, "line 2001" }, { #kept, kept[1000] })
  end)
end)

describe("texres repl", function()
  local folder = support.folder()

  local function with(input, command)
    support.write_file(folder .. "/input", input)
    local variables = { XDG_STATE_HOME = folder, TERM = "xterm", LC_ALL = "C.UTF-8" }
    return support.run({ "sh", "-c", command }, { env = variables })
  end

  local function piped(input) return with(input, ("%s bin/texres repl <%s/input"):format(support.lua, folder)) end

  it("reads a file as it would a person: expressions, statements, inputs of several lines", function()
    local ok, out = piped [[
1 + 1
x = tr.ones(2)
x
for i = 1, 2 do
  print(i, x:sum())

end
local kept = 7
local a, b = kept + 1, "b"
kept, a, b
nil
local constant <const>, text = 1, "<const>"
constant, text
function f() return nil, "a reason" end
f()
input
help "relu"
]]
    assert.is_true(ok, out)
    assert.equal("2\n[1., 1.]\nf32 {2}\n1\t2.\nf32 {}\n2\t2.\nf32 {}\n7\t8\tb\nnil\n1\t<const>\nnil\ta reason\nnil\n",
      out:match "^(.-)relu%(")
  end)

  it("passes over what Lua does at the beginning of a file", function()
    for _, mark in ipairs { "#!/usr/bin/env lua\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF# a note\n" } do
      local ok, out = piped(mark .. "6 * 7\r\n")
      assert.is_true(ok, out)
      assert.equal("42\n", out)
    end
  end)

  it("tells errors in one line, with the place in the input, and goes on; traceback() where", function()
    local ok, out, status = piped [[
x = nil + 1
tr.zeros(2):add(tr.zeros(3))
tr.nn.Conv2d(0, 1)
1 +* 2
x y
error(setmetatable({}, { __tostring = function() return "an object" end }))
local function deep() error "deep" end deep()
traceback()
tr.repl()
print(pcall(coroutine.wrap, 1))
unfinished(
]]
    assert.is_false(ok)
    assert.equal(1, status)
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("input:1: attempt to perform arithmetic on a nil value", lines[1])
    assert.matches("^input:1: add: shapes {2} and {3} do not fit", lines[2])
    assert.matches("^input:1: Conv2d: ", lines[3])
    assert.equal("input:1: unexpected symbol near '*'", lines[4])
    assert.equal("input:1: syntax error near 'y'", lines[5])
    assert.equal("an object", lines[6])
    assert.equal("input:1: deep", lines[7])
    assert.matches("stack traceback:\n[^\n]*in function 'error'\n[^\n]*input:1: in [^\n]*deep'?\n"
      .. "[^\n]*input:1: in main chunk\ninput:1: repl: there is a prompt already\n"
      .. "false\tinput:1: coroutine: a function is expected, got 1\ninput:2: unexpected symbol near <eof>\n$", out)
  end)

  it("is a function for scripts, which sees their globals", function()
    support.write_file(folder .. "/input", "mine = mine + 1\nmine\n")
    local ok, out = support.run { "sh", "-c",
      ("%s -e 'mine = 1 require(\"texres\").repl() print(mine, coroutine.wrap(function() return 5 end)())' <%s/input")
        :format(support.lua, folder) }
    assert.is_true(ok, out)
    assert.equal("2\n2\t5\n", out)
  end)

  --- What the screen was written when the keys are sent one after another: a list of texts and numbers of seconds.
  local function typed(keys)
    local parts = {}
    for i, key in ipairs(keys) do
      parts[i] = type(key) == "number" and "sleep " .. key or "printf '" .. key .. "'"
    end
    local command = ("%s bin/texres repl"):format(support.lua)
    local _, out = with("", ("(%s) | script -qec '%s' /dev/null"):format(table.concat(parts, "; "), command))
    return out
  end

  it("edits, completes and keeps its history in a terminal", function()
    if not os.execute "script -qec true /dev/null >/dev/null 2>&1" then
      return pending "the program `script` makes no terminal here"
    end
    os.remove(folder .. "/texres/history")
    local out = typed { 1, "tr.randp\\t(3):numel() + 30\\r", 0.3, "6 * 7\\r", 0.3,
      'io.write("no end"); kept = 1\\r', 0.3, "\\004", 0.3 }
    assert.matches("Ctrl%-D ends", out)
    assert.matches("%f[%d]33\r\n", out)
    assert.matches("%f[%d]42\r\n", out)
    assert.matches("no end\27%[%?2004h +\r", out) -- which the next prompt does not take away
    assert.matches("6 %* 7\n[^\n]*\n$", support.read_file(folder .. "/texres/history"))
  end)

  it("comes back at Ctrl-C, from a line and from what runs", function()
    if not os.execute "script -qec true /dev/null >/dev/null 2>&1" then
      return pending "the program `script` makes no terminal here"
    end
    local out = typed { 1, "6 * 7 +\\003", 0.2, "kept = 5; while true do end\\r", 0.7, "\\003", 0.5, "kept + 1\\r", 0.5,
      "io.read()\\r", 0.5, "\\003", 0.5, "kept + 2\\r", 0.3, "\\004", 0.3 }
    assert.matches("%^C.*interrupted.*%f[%d]6\r\n.*interrupted.*%f[%d]7\r\n", out)
  end)
end)

describe("Ctrl-C at the prompt", function()
  -- interrupted(f) calls f at a prompt that Ctrl-C reaches after 0.3 s: how long f went on after it.
  local CHILD = [[
    local tr, prompt = require "texres", require "texres.core".prompt
    local pid = io.open("/proc/self/stat"):read "n"
    prompt.open()
    coroutine.create, coroutine.wrap = prompt.reached(coroutine.create), prompt.reached(coroutine.wrap)
    local function interrupted(f)
      io.popen(("(sleep 0.3; kill -INT %d) >/dev/null 2>&1 &"):format(pid)):close()
      local start = tr.clock()
      local ok, message = prompt.call(f)
      assert(not ok and message:find "interrupted!$", message)
      assert(tr.ones(1000, 1000):sum():item() == 1e6 and debug.gethook() == nil)
      local took = tr.clock() - start - 0.3
      assert(took < 2, took) -- 0.2 s and what other programs take
    end
    local x = tr.rand(3000, 3000)
  ]]

  for name, call in pairs {
    ["an endless loop"] = "while true do end",
    ["a product"] = "for i = 1, 100 do x:matmul(x) end",
    ["a script that catches the error"] = "while true do pcall(function() while true do end end) end",
    ["a script that catches it around a product"] = "while true do pcall(x.matmul, x, x) end",
    ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
    ["a coroutine that catches it"] =
      "coroutine.wrap(function() while true do pcall(function() while true do x:matmul(x) end end) end end)()",
    ["a coroutine that catches it and makes others in a loop"] = "coroutine.wrap(function() while true do "
      .. "pcall(coroutine.wrap(function() while true do end end)) end end)()",
    ["what waits for input"] = "io.popen('sleep 5'):read()",
  } do
    it("ends " .. name, function()
      local ok, out = support.run_lua(CHILD .. ("interrupted(function() %s end)"):format(call))
      assert.is_true(ok, out)
    end)
  end

  it("ends training within a step, and fit() goes on", function()
    local ok, out = support.run_lua(CHILD .. [[
      local set = tr.data.fabric { count = 64, size = 64, seed = 1 }
      local trainer = tr.Trainer { model = tr.models.resnet18 { classes = #set.classes, in_channels = 1 }, epochs = 1,
        batch = 64, quiet = true }
      interrupted(function() trainer:fit(set) end)
      assert(trainer.steps == 0 and #trainer.history == 0)
      for _, p in ipairs(trainer.model:parameters()) do assert(p:all_finite()) end
      local small = tr.Trainer { model = tr.nn.Sequential { tr.nn.Flatten(), tr.nn.Linear(4096, #set.classes) },
        epochs = 100000, quiet = true }
      local ok = prompt.call(function()
        io.popen(("(sleep 0.3; kill -INT %d) >/dev/null 2>&1 &"):format(pid)):close()
        small:fit(set)
      end)
      assert(ok and small.interrupted and small.steps > 0) ]])
    assert.is_true(ok, out)
  end)

  it("is answered as before when the prompt has ended", function()
    local ok, out = support.run_lua(CHILD .. [[
      prompt.close()
      io.popen(("(sleep 0.2; kill -INT %d) >/dev/null 2>&1 &"):format(pid)):close()
      local ok, message = pcall(function() while true do end end)
      assert(not ok and message:find "interrupted!$") ]])
    assert.is_true(ok, out)
    ok, out = support.run_lua(CHILD .. "prompt.open()")
    assert.is_false(ok)
    assert.matches("there is a prompt already", out)
  end)
end)
