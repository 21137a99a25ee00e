--- What a terminal is told: abilities, bars, curves, colours, lines that fit.
local tr = require "texres"
local metrics = require "texres.metrics"
local support = require "spec.support"
local terminal = require "texres.terminal"

local function can(columns, variables)
  return terminal.abilities(columns, function(name) return variables[name] end)
end

local PLAIN = can(nil, { LANG = "de_DE.UTF-8" })
local RICH = can(80, { LANG = "de_DE.UTF-8", TERM = "xterm" })

local function bare(text) return (text:gsub("\27%[%d*m", "")) end

describe("terminal", function()
  it("tells durations as people do", function()
    assert.equal("8 s", terminal.duration(8.2))
    assert.equal("3 min 05 s", terminal.duration(185))
    assert.equal("2 h 07 min", terminal.duration(2 * 3600 + 7 * 60 + 20))
  end)

  it("writes plain lines where there is no terminal, and not too many", function()
    local path = support.folder() .. "/log"
    local file = io.open(path, "w")
    local line = terminal.Progress(file)
    for i = 1, 1000 do line:show("step " .. i) end
    line:done "epoch 1"
    file:close()
    assert.equal("epoch 1\n", support.read_file(path))
  end)
end)

describe("what a stream can show", function()
  it("follows from terminal, NO_COLOR, TERM and the locale", function()
    assert.same({ columns = 80, colour = true, blocks = true }, RICH)
    assert.same({ colour = false, blocks = true }, PLAIN)
    assert.is_false(can(80, { NO_COLOR = "1" }).colour)
    assert.is_true(can(80, { NO_COLOR = "" }).colour)
    assert.is_false(can(80, { OMPI_COMM_WORLD_RANK = "0" }).colour)
    assert.same({ colour = false, blocks = false }, can(80, { TERM = "dumb" }))
    assert.is_false(can(80, { LC_ALL = "C", LANG = "en_US.UTF-8" }).blocks)
    assert.is_true(can(80, { LC_ALL = "", LC_CTYPE = "C.utf8" }).blocks)
  end)

  it("is what bars and curves are made of", function()
    local ascii = can(80, { NO_COLOR = "1" })
    assert.equal("[###---]", terminal.bar(ascii, 0.5, 6))
    assert.equal("[------]", terminal.bar(ascii, -1, 6))
    assert.equal("[######]", terminal.bar(ascii, 2, 6))
    assert.equal(10, utf8.len(bare(terminal.bar(RICH, 0.3, 10))))
    assert.equal("", terminal.sparkline(ascii, { 1, 2 }, 8))
    assert.equal("▁▅█", terminal.sparkline(RICH, { 9, 0, 1, 2 }, 3))
    assert.equal("▁▁", terminal.sparkline(RICH, { 1, 0 / 0, 1, math.huge }, 8))
    assert.equal("", terminal.sparkline(RICH, {}, 8))
    assert.equal("x", terminal.paint(ascii, "red", "x"))
    assert.equal("\27[31mx\27[0m", terminal.paint(RICH, "red", "x"))
  end)
end)

describe("a progress line", function()
  local state = { "epoch 3/15", "loss 0.4123", "12 s left", "310 images/s", "accuracy 81.0 %", share = 0.42,
    values = { 3, 2.5, 2, 1.7, 1.6, 1.5, 1.4, 1.3 } }

  it("has bar, curve and all words where there is room", function()
    local text = bare(terminal.line_of(RICH, state, 120))
    for _, word in ipairs { "epoch 3/15", "━", " 42 %", "loss 0.4123", "█", "12 s left", "310 images/s", "81.0 %" } do
      assert.is_truthy(text:find(word, 1, true), word)
    end
  end)

  it("fits any width, words going from the end", function()
    for columns = 12, 130 do
      for _, ability in ipairs { RICH, can(columns, {}) } do
        local text = bare(terminal.line_of(ability, state, columns))
        assert.is_true(utf8.len(text) <= columns, ("%d: %s"):format(columns, text))
        assert.matches("^epoch 3/15", text)
      end
    end
    assert.matches("loss 0.4123", terminal.line_of(RICH, state, 40))
  end)

  it("is plain words in a log file, where a name steers nothing", function()
    assert.equal("epoch 3/15  loss 0.4123  12 s left  310 images/s  accuracy 81.0 %",
      terminal.line_of(PLAIN, state, nil))
    assert.is_nil(terminal.line_of(RICH, { "a\27[2Jb" }, 40):find "\27%[2J")
  end)
end)

describe("a result that is shown", function()
  it("is what print() shows, in a file; colours are for terminals", function()
    local counter = metrics.Counter { "good", "hole" }
    counter:add(tr.tensor { { 2, 1 }, { 0, 1 }, { 3, 1 } }, tr.tensor({ 1, 2, 2 }, { dtype = "i64" }), 0.25)
    local result, path = counter:result(), support.folder() .. "/shown"
    local file = assert(io.open(path, "w"))
    result:show(file)
    file:close()
    assert.equal(tostring(result) .. "\n", support.read_file(path))
  end)
end)
