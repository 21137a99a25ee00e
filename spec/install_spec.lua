--- What `make install` and LuaRocks put in place is complete: the module and the command work with it alone, and
-- removing leaves nothing.
local support = require "spec.support"

local function run(words, options)
  local ok, output = support.run(words, options)
  assert.is_true(ok, output)
  return output
end

local tr = require "texres"

local version = tr._VERSION .. "\n"

--- The words of a command that runs without the paths of this checkout, and in another folder.
local function bare(...)
  return { "env", "-C", "/", "-u", "LUA_PATH", "-u", "LUA_CPATH", ... }
end

--- Runs contract scripts with the paths of an installed tree and no others, and the command without any.
local function works_from(tree)
  local share, lib = tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4"
  local paths = { LUA_PATH = share .. "/?.lua;" .. share .. "/?/init.lua", LUA_CPATH = lib .. "/?.so" }
  local ok, output = support.run_lua([[
    local tr = require "texres"
    local net = tr.models.textile { width = 2 }
    local path = os.tmpname()
    assert(net:save(path) and net:load(path))
    os.remove(path)
    assert(tr.data.fabric { count = 6 }:split { 0.5, 0.5 })
    assert(tr.Trainer and tr.load and tr.gradcheck and tr.optim.AdamW)
    print "complete"]], { env = paths })
  assert.matches("complete", output)
  assert.is_true(ok)
  for _, name in ipairs { "tensor", "autograd" } do
    local script = support.shared("contract/" .. name .. ".lua")
    if script then run({ support.lua, script }, { env = paths }) end
  end
  assert.equal(version, run(bare(tree .. "/bin/texres", "--version")))
  if not tr.distributed._library() then return end
  run({ support.lua, "-e", "assert(require('texres').distributed._library())" }, { env = paths })
end

local function files_below(folder) return run { "find", folder, "-type", "f", "-path", "*texres*" } end

describe("installation by make", function()
  local tree = support.folder()
  it("has every file", function()
    run { "make", "install", "PREFIX=" .. tree }
    works_from(tree)
  end)

  it("is undone by make uninstall, which leaves what others put there", function()
    local other = support.write_file(tree .. "/share/lua/5.4/texres/other.lua", "")
    run { "make", "uninstall", "PREFIX=" .. tree }
    assert.equal(other .. "\n", files_below(tree))
    os.remove(other)
    run { "make", "install", "PREFIX=" .. tree }
    run { "make", "uninstall", "PREFIX=" .. tree }
    assert.equal("", run { "find", tree, "-name", "*texres*" })
    run { "make", "uninstall", "PREFIX=" .. tree }
    assert.equal("", run { "find", tree, "-mindepth", "1", "-name", "lua*" })
  end)

  it("takes ~ for the home folder, whatever the shell makes of it", function()
    run { "env", "HOME=" .. tree, "make", "install", "PREFIX=~/own" }
    assert.equal(version, run(bare(tree .. "/own/bin/texres", "--version")))
  end)

  it("goes into folders with blanks in their names, for an interpreter of another name", function()
    local other = tree .. "/a 'b' c"
    local interpreter = run { "sh", "-c", "command -v " .. support.lua }:gsub("\n", "")
    run { "make", "install", "PREFIX=" .. tree .. "/a b", "LUA=" .. interpreter }
    assert.equal("#!" .. interpreter, support.read_file(tree .. "/a b/bin/texres"):match "[^\n]*")
    run { "mv", tree .. "/a b", other }
    assert.equal(version, run(bare(other .. "/bin/texres", "--version")))
  end)
end)

describe("the command", function()
  local folder = support.folder()
  setup(function()
    run { "make", "install", "PREFIX=" .. folder .. "/there" }
    run { "mkdir", folder .. "/links", folder .. "/unbuilt" }
    run { "ln", "-s", "../there/bin/texres", folder .. "/links/one" }
    run { "ln", "-s", folder .. "/links/one", folder .. "/two" }
    run { "cp", "-r", "bin", "examples", folder .. "/unbuilt" }
  end)

  --- What the command says that can't run: one line.
  local function complaint(words, env)
    local ok, output, status = support.run(words, { env = env })
    assert.is_false(ok)
    assert.equal(1, status)
    assert.matches("^texres: [^\n]+\n$", output)
    return output
  end

  it("is found through links", function()
    for _, link in ipairs { "/links/one", "/two" } do
      assert.equal(version, run(bare(folder .. link, "--version")))
    end
  end)

  it("says in a line which module is missing, and what to do", function()
    local nowhere = { LUA_PATH = "/nowhere/?.lua", LUA_CPATH = "/nowhere/?.so" }
    local told = complaint({ folder .. "/there/bin/texres", "--version" }, nowhere)
    assert.matches("needs argparse, which is not there: install it by apt%-get install lua%-argparse", told)
    assert.matches("end LUA_PATH in ';;'", told)
    told = complaint({ folder .. "/unbuilt/bin/texres", "--version" }, nowhere)
    assert.matches("^texres: it is not built in .*/unbuilt/: run make there\n$", told)
  end)

  it("says in a line that its core can't be loaded", function()
    support.write_file(folder .. "/there/lib/lua/5.4/texres/core.so", "no library")
    assert.matches("error loading module 'texres.core' from file", complaint(bare(folder .. "/two", "--version")))
  end)
end)

describe("a machine without the packages", function()
  it("is told before anything is compiled", function()
    local ok, output = support.run { "make", "BUILD=" .. support.folder(), "CFLAGS=-nostdinc" }
    assert.is_false(ok)
    assert.matches("lauxlib.h", output)
    assert.is_nil(output:find("  CC", 1, true))
  end)

  it("is told the one command that installs them, each named once", function()
    local bare_machine = support.folder()
    run { "cp", "-r", "tools", bare_machine }
    support.write_file(bare_machine .. "/packages.txt",
      "build  no-such-package  false\nbuild? nor-this  false\nrun there true\n")
    local ok, output = support.run { bare_machine .. "/tools/setup.sh", "--tell", "build", "run" }
    assert.is_false(ok)
    assert.matches("apt%-get install %-y no%-such%-package nor%-this\n$", output)
    assert.matches("apt%-get update && ", output)
  end)
end)

describe("installation by LuaRocks", function()
  local clean, tree, other = support.folder(), support.folder(), support.folder()
  -- argparse is there as a package of the system
  local config = support.write_file(clean .. "/config.lua", ([[
    rocks_provided = { argparse = "0.7.1-1" }
    variables = { CC = %q }]]):format(os.getenv "CC" or "cc"))
  local env = { LUAROCKS_CONFIG = config, MAKEFLAGS = "-j2" }
  local there = support.run { "luarocks", "--version" }

  --- Runs luarocks in a clean copy of the sources.
  local function luarocks(words, into)
    if not there then pending "luarocks is not installed" end
    local line = ("cd '%s' && exec luarocks --lua-version 5.4 --tree '%s' %s"):format(clean, into, words)
    return run({ "sh", "-c", line }, { env = env })
  end

  setup(function()
    run { "sh", "-c", "cp -r Makefile csrc lua bin tools examples texres-*.rockspec " .. clean }
    os.remove(clean .. "/lua/texres/core.so")
    os.remove(clean .. "/lua/texres/mpi.so")
  end)

  for _, which in ipairs { "0.2.0-1", "scm-1" } do
    it("has a clean rockspec of " .. which, function() luarocks("lint texres-" .. which .. ".rockspec", tree) end)
  end

  it("has rockspecs that differ by the version alone", function()
    local numbered = support.read_file "texres-0.2.0-1.rockspec"
    assert.equal(support.read_file "texres-scm-1.rockspec", (numbered:gsub('"0%.2%.0%-1"', '"scm-1"')))
  end)

  it("has every file", function()
    luarocks("make texres-0.2.0-1.rockspec", tree)
    works_from(tree)
  end)

  it("packs a rock that is installed and removed elsewhere", function()
    luarocks("pack texres", tree)
    local rock = run({ "sh", "-c", ("ls '%s'/texres-0.2.0-1.*.rock"):format(clean) }):gsub("\n", "")
    luarocks(("install '%s'"):format(rock), other)
    works_from(other)
    luarocks("remove texres", other)
    assert.equal("", files_below(other))
    luarocks(("install --deps-mode none '%s'"):format(rock), other) -- its script is told no paths then
    works_from(other)
  end)
end)
