--- Images in the terminal: what each terminal is shown, sizes, the range of pixels.
local tr = require "texres"
local show = require "texres.show"
local support = require "spec.support"
local terminal = require "texres.terminal"

local function manner(columns, variables)
  local function get(name) return variables[name] end
  return show.manner(terminal.abilities(columns, get), get)
end

local function shows(lines, ...) assert.same({ ... }, lines) end

describe("how an image is drawn", function()
  it("follows from the terminal", function()
    local utf8_locale = "C.UTF-8"
    local function of(variables)
      variables.LANG = variables.LANG or utf8_locale
      return manner(80, variables)
    end
    assert.equal("24bit", of { TERM = "xterm", COLORTERM = "truecolor" })
    assert.equal("24bit", of { TERM = "xterm", COLORTERM = "24bit" })
    assert.equal("256", of { TERM = "tmux-256color" })
    assert.equal("shades", of { TERM = "linux" })
    assert.equal("shades", of { TERM = "xterm-256color", NO_COLOR = "1" })
    assert.equal("letters", of { TERM = "xterm-256color", LANG = "C" })
    assert.equal("letters", of { TERM = "dumb", COLORTERM = "truecolor" })
    assert.equal("letters", manner(nil, { LANG = utf8_locale, TERM = "xterm", COLORTERM = "truecolor" }))
  end)
end)

describe("an image as lines", function()
  local squares = tr.tensor { { 0, 1 }, { 1, 0 }, { 0.5, 0.5 } } -- the last row has none below it

  it("has two pixels in a character, each in its colour", function()
    shows(show.lines(squares, 80, "24bit"),
      "\27[38;2;0;0;0m\27[48;2;255;255;255m▀\27[38;2;255;255;255m\27[48;2;0;0;0m▀\27[0m",
      "\27[38;2;128;128;128m▀▀\27[0m")
    local colours = tr.tensor { { { 255, 0, 0 }, { 0, 95, 135 } } }:to "u8"
    shows(show.lines(colours, 80, "24bit"), "\27[38;2;255;0;0m▀\27[38;2;0;95;135m▀\27[0m")
    shows(show.lines(colours, 80, "256"), "\27[38;5;196m▀\27[38;5;24m▀\27[0m")
  end)

  it("is black where it is not finite, whatever its range", function()
    local inf = math.huge
    for _, numbers in ipairs { { 0 / 0, -1, 1 }, { inf, 5e5, 6e5 }, { -inf, 0, 1 } } do
      shows(show.lines(tr.tensor { numbers }, 80, "24bit"),
        "\27[38;2;0;0;0m▀▀\27[38;2;255;255;255m▀\27[0m")
    end
    shows(show.lines(tr.tensor { { 0 / 0, inf } }, 80, "24bit"), "\27[38;2;0;0;0m▀▀\27[0m")
  end)

  it("has the nearest of 256 colours, greys among them", function()
    local function code(r, g, b)
      local line = show.lines(tr.tensor { { { r, g, b } } }:to "u8", 80, "256")[1]
      return math.tointeger(line:match "38;5;(%d+)m")
    end
    local function distance(n, r, g, b)
      local x, y, z
      if n >= 232 then
        x = 8 + 10 * (n - 232)
        y, z = x, x
      else
        local levels = { [0] = 0, 95, 135, 175, 215, 255 }
        x, y, z = levels[(n - 16) // 36], levels[(n - 16) // 6 % 6], levels[(n - 16) % 6]
      end
      return (x - r) ^ 2 + (y - g) ^ 2 + (z - b) ^ 2
    end
    for _, c in ipairs { { 0, 0, 0 }, { 255, 255, 255 }, { 50, 50, 50 }, { 200, 30, 90 }, { 12, 200, 120 } } do
      local nearest = math.huge
      for n = 16, 255 do nearest = math.min(nearest, distance(n, table.unpack(c))) end
      assert.equal(nearest, distance(code(table.unpack(c)), table.unpack(c)), table.concat(c, ","))
    end
  end)

  it("has a shade or a letter for the mean of two pixels", function()
    local ramp = tr.tensor { { 0, 0.25, 0.5, 0.75, 1 }, { 0, 0.25, 0.5, 0.75, 1 } }
    shows(show.lines(ramp, 80, "shades"), " ░▒▓█")
    shows(show.lines(ramp, 80, "letters"), " :+#@")
    shows(show.lines(tr.tensor { { 0, 1 }, { 1, 0 } }, 80, "shades"), "▒▒")
  end)

  it("is reduced to the columns, by means, and no longer than twice as high as wide", function()
    for _, drawn in ipairs { "24bit", "shades", "letters" } do
      local wide = show.lines(tr.rand(300, 4000, 3), 100, drawn)
      assert.equal(4, #wide)
      assert.equal(100, utf8.len((wide[1]:gsub("\27%[[%d;]*m", ""))))
      assert.is_true(#show.lines(tr.rand(4000, 3), 50, drawn) <= 50)
    end
    local halves = tr.zeros(2, 200)
    halves:slice(2, 101, 200):fill(1)
    shows(show.lines(halves, 4, "letters"), "  @@")
  end)

  it("takes grey, colour and alpha, bytes and floats of any range; what is no number is black", function()
    local grey = tr.tensor { { 0, 1 } }
    local same = { "\27[38;2;0;0;0m▀\27[38;2;255;255;255m▀\27[0m" }
    for name, image in pairs {
      flat = grey, one_channel = grey:unsqueeze(3), batch_of_one = grey:reshape(1, 1, 2, 1),
      bytes = (grey * 255):to "u8", large = grey * 255, sixteen_bits = grey * 65535, doubles = grey:to "f64",
      below_zero = grey * 6 - 3, colour = grey:unsqueeze(3):expand(1, 2, 3),
      alpha = tr.cat({ grey:unsqueeze(3), tr.full({ 1, 2, 1 }, 0.3) }, 3), not_a_number = tr.tensor { { 0 / 0, 1 } },
      with_gradient = tr.tensor({ { 0, 1 } }, { requires_grad = true }),
    } do
      assert.same(same, show.lines(image, 80, "24bit"), name)
    end
    assert.same({ "\27[38;2;0;0;0m▀\27[0m" }, show.lines(tr.tensor { { -5 } }, 80, "24bit"))
  end)

  it("blames the caller for what is no image", function()
    local function refuses(image, options)
      local ok, message = pcall(function() image:show(options) end)
      assert.is_false(ok)
      return message
    end
    assert.matches("show_spec.lua:%d+: show: an image {H,W} or {H,W,C} of 1 to 4 channels is wanted, got {2,3,3,1}$",
      refuses(tr.zeros(2, 3, 3, 1)))
    assert.matches("got {4,4,5}$", refuses(tr.zeros(4, 4, 5)))
    assert.matches("got {0,4}$", refuses(tr.zeros(0, 4)))
    assert.matches("show: columns is 0, wanted a whole number of at least 1$", refuses(tr.zeros(4, 4), { columns = 0 }))
  end)
end)

describe("show()", function()
  it("writes an image, and a sample with what is known of it, to a file as letters", function()
    local path = support.folder() .. "/shown"
    local file = assert(io.open(path, "w"))
    tr.tensor({ { 0, 1 }, { 0, 1 } }):show { file = file }
    local set = tr.data.tensors { images = tr.ones(2, 2, 4, 1), labels = { 1, 2 }, classes = { "good", "ho\27le" },
      meta = { angle = { 0.123456, 90 }, roll = { "a", "b" } } }
    set:show(-1, { file = file, columns = 2 })
    set:show(1, { file = file })
    file:close()
    assert.equal(" @\n@@\nho\\x1ble (2), angle 90, roll b\n@@@@\ngood (1), angle 0.1235, roll a\n",
      support.read_file(path))
  end)
end)
