--- The command line: what all commands share, help and completion. Results go to standard output, the rest to standard
-- error; what a command does for itself is in command_NAME_spec.lua.
local support = require "spec.support"

local folder = support.folder()

--- Runs bin/texres: the exit status, standard output, standard error.
local function texres(...)
  local words = { "sh", "-c", 'exec "$@" 2>"$0"', folder .. "/errors", support.lua, "bin/texres", ... }
  local _, output, status = support.run(words, { env = { LUA_PATH = ";;", LUA_CPATH = ";;" } })
  return status, output, support.read_file(folder .. "/errors")
end

--- That a command line fails with this status, nothing on standard output and one line on standard error.
local function fails(status, pattern, ...)
  local got, output, errors = texres(...)
  assert.equal(status, got, errors)
  assert.equal("", output)
  assert.matches("^texres[^\n]*\n$", errors)
  assert.matches(pattern, errors)
end

describe("the command line", function()
  it("lists its commands, and says which version it is", function()
    local status, output, errors = texres "help"
    assert.equal(0, status, errors)
    for _, name in ipairs { "summary", "help", "completion" } do assert.matches("\n   " .. name .. " +%u", output) end
    assert.equal(output, select(2, texres "--help"))
    assert.same({ 2, output, "" }, { texres() }, "without a command: the same list, but nothing was done")
    status, output = texres "--version"
    assert.equal(0, status)
    assert.equal(require("texres")._VERSION .. "\n", output)
  end)

  it("is wrong with status 2, in one line that says where to look", function()
    fails(2, "unknown command 'sumary'; did you mean 'summary'; see texres %-%-help", "sumary")
    fails(2, "unknown option '%-%-size'.*see texres %-%-help", "--size", "3")
    fails(2, "texres summary: missing argument 'network'; see texres summary %-%-help", "summary")
    fails(2, "too many arguments", "summary", "a", "b")
    fails(2, "3 is no shape of images", "summary", "x", "--input", "3")
    fails(2, "", "summary", "x", "--classes", "0")
  end)

  it("fails with status 1, in one line, and tells where an error was raised where it is asked for", function()
    fails(1, "texres summary: nowhere: there is no such file", "summary", "nowhere")
    fails(1, "texres summary: " .. folder, "summary", folder .. "/errors")
    fails(1, "^texres summary: zeros: ", "summary", "textile", "--input", "64x64x1", "--classes", "9007199254740993")
    local status, _, errors = texres("summary", "textile", "--classes", "9007199254740993", "--traceback")
    assert.equal(1, status)
    assert.matches("stack traceback:.*summary.lua:%d+", errors)
  end)

  it("shows control bytes of names, and sends none to the terminal", function()
    fails(1, "\\x1b%[31mred", "summary", "\27[31mred")
    fails(2, "\\x1b%[31mred", "\27[31mred")
  end)

  it("has help with examples for every command", function()
    for name in select(2, texres "help"):match("Commands:\n(.-)\n\n"):gmatch "   ([%w-]+) +%u" do
      local status, output = texres(name, "--help")
      assert.equal(0, status)
      assert.matches("^Usage: texres " .. name:gsub("%-", "%%-"), output)
      assert.matches("\nExamples:\n   texres " .. name:gsub("%-", "%%-"), output)
      assert.matches("%-%-traceback", output)
      assert.equal(output, select(2, texres("help", name)))
    end
  end)
end)

describe("texres help", function()
  it("tells of names of the library too", function()
    local status, output = texres("help", "relu")
    assert.equal(0, status)
    assert.matches("max%(x, 0%)", output)
    fails(2, "texres help: .*bogus", "help", "bogus")
  end)
end)

describe("texres completion", function()
  it("completes commands, options and their choices in bash", function()
    local script = support.write_file(folder .. "/complete.bash", select(2, texres("completion", "bash")) .. [[

COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_texres
echo "${COMPREPLY[@]}"
]])
    local function complete(...)
      local ok, output = support.run { "bash", script, "texres", ... }
      assert.is_true(ok, output)
      return output:gsub("\n$", "")
    end
    assert.equal("summary", complete "su")
    assert.matches("summary.* help completion", complete "")
    assert.equal("--input", complete("summary", "--i"))
    assert.equal("summary", complete("help", "su"))
    assert.matches("%-%-help.*%-%-traceback", complete("summary", "textile", "--"))
    assert.matches("bin/texres", complete("summary", "--input", "bin/te"))
  end)

  it("writes a script for zsh, of which there is no other shell's", function()
    local status, output = texres("completion", "zsh")
    assert.equal(0, status)
    assert.matches("^#compdef texres\n", output)
    assert.matches('"summary:The layers', output)
    if os.execute "zsh --version >/dev/null 2>&1" then
      local ok, message = support.run { "zsh", "-n", support.write_file(folder .. "/_texres", output) }
      assert.is_true(ok, message)
    end
    fails(2, "one of 'bash', 'zsh'", "completion", "fish")
  end)
end)
