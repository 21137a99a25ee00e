--- The scripts that fix the public interface run unchanged.
local support = require "spec.support"

describe("contract", function()
  for _, name in ipairs { "tensor", "autograd", "network", "training" } do
    it("runs " .. name .. ".lua", function()
      local script = support.need_shared("contract/" .. name .. ".lua", pending)
      local ok, output = support.run({ support.lua, script }, { env = { OUT = support.folder() } })
      assert.is_true(ok, output)
      assert.matches("ok%s*$", output)
    end)
  end
end)
