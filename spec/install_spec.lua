--- What `make install` and LuaRocks put in place is complete: the module works with those paths alone.
local support = require "spec.support"

--- Runs contract scripts with the paths of an installed tree and no others.
local function works_from(share, lib)
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
    if script then
      ok, output = support.run({ support.lua, script }, { env = paths })
      assert.is_true(ok, output)
    end
  end
end

describe("installation", function()
  it("by make has every file", function()
    local tree = support.folder()
    local ok, output = support.run { "make", "install", "PREFIX=" .. tree }
    assert.is_true(ok, output)
    works_from(tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4")
  end)

  it("by LuaRocks has every file", function()
    if not support.run { "luarocks", "--version" } then pending "luarocks is not installed" end
    local tree = support.folder()
    local ok, output = support.run { "luarocks", "--lua-version", "5.4", "--tree", tree, "make", "--deps-mode", "none" }
    assert.is_true(ok, output)
    works_from(tree .. "/share/lua/5.4", tree .. "/lib/lua/5.4")
  end)
end)
