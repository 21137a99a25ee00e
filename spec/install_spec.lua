--- What `make install` and LuaRocks put in place is complete: the module and the command work with it alone, and
-- removing leaves nothing.
local support = require "spec.support"

local function run(words, options)
  local ok, output = support.run(words, options)
  assert.is_true(ok, output)
  return output
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
  local command = { "env", "-u", "LUA_PATH", "-u", "LUA_CPATH", tree .. "/bin/texres", "--version" }
  assert.equal(require "texres"._VERSION .. "\n", run(command))
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
  end)

  for _, version in ipairs { "0.2.0-1", "scm-1" } do
    it("has a clean rockspec of " .. version, function() luarocks("lint texres-" .. version .. ".rockspec", tree) end)
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
  end)
end)
