--- The Lua of README.md runs as it stands there, on fewer images and for fewer epochs.
local support = require "spec.support"

local text = support.read_file "README.md"

--- The blocks of Lua, in their order.
local function blocks()
  local list = {}
  for block in text:gmatch "```lua\n(.-)```" do list[#list + 1] = block end
  return list
end

local SMALLER = { -- what a block asks for -> what is enough here; each must stand in some block
  { "count = %d+", "count = 240" }, { "epochs = %d+", "epochs = 1" }, { "size = 64", "size = 32" },
}

describe("README.md", function()
  it("has Lua that runs, one block after the other", function()
    local dir, here, found = support.folder(), io.popen("pwd"):read "l", {}
    local list = blocks()
    assert.is_true(#list >= 2)
    local env = {} -- the same library, from another folder
    for _, name in ipairs { "LUA_PATH", "LUA_CPATH" } do
      env[name] = os.getenv(name) and os.getenv(name):gsub("%./", here .. "/") or nil
    end
    for b, block in ipairs(list) do
      for s, change in ipairs(SMALLER) do
        local times
        block, times = block:gsub(change[1], change[2])
        found[s] = (found[s] or 0) + times
      end
      support.write_file(dir .. "/block.lua", block)
      local command = ("cd %s && exec %s block.lua"):format(dir, support.lua)
      local ok, output = support.run({ "sh", "-c", command }, { env = env })
      assert.is_true(ok, ("block %d: %s"):format(b, output))
    end
    for s, change in ipairs(SMALLER) do assert.is_true(found[s] > 0, change[1] .. " stands in no block any more") end
    for _, name in ipairs { "runs/first/report.html", "runs/first/best.onnx", "net.svg" } do
      assert.is_true(support.exists(dir .. "/" .. name), name)
    end
  end)
end)
