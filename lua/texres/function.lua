--- A user's own differentiable function, written in Lua.
--
--     local square = texres.Function {
--       forward = function(ctx, t) ctx:save(t); return t * t end,
--       backward = function(ctx, dy) local t = ctx:saved(); return dy * t * 2 end,
--     }
--
-- `forward(ctx, ...)` gets the arguments of the call and returns one to three tensors; nothing is recorded inside.
-- `backward(ctx, dy, ...)` gets the gradient of each result (nil: none arrived) and returns one gradient per argument,
-- nil for an argument that has none. `ctx` is a table to keep things in; `ctx:save` keeps tensors and notices when they
-- are changed in place before backward.
-- @module texres.function

local core = require "texres.core"
local option = require "texres.options"

local Context = {}
Context.__index = Context

--- Keeps tensors for backward.
function Context:save(...)
  self.tensors, self.versions = table.pack(...), {}
  for i = 1, self.tensors.n do
    if core.is_tensor(self.tensors[i]) then self.versions[i] = self.tensors[i]:version() end
  end
end

--- The tensors that were saved; raises when one was changed in place in between.
function Context:saved()
  for i, version in pairs(self.versions) do
    if self.tensors[i]:version() ~= version then
      error("saved tensor " .. i .. " was changed in place after it was saved: save a clone() of it instead", 0)
    end
  end
  return table.unpack(self.tensors, 1, self.tensors.n)
end

local function any_requires_grad(arguments)
  for i = 1, arguments.n do
    if core.is_tensor(arguments[i]) and arguments[i].requires_grad then return true end
  end
  return false
end

--- Makes a function from `forward` and `backward`.
-- @tparam table definition forward and backward
-- @treturn function
return function(definition)
  option.check("texres.Function", "the definition", definition, option.table())
  local forward = option.check("texres.Function", "forward", definition.forward, option.FUNCTION)
  local backward = option.check("texres.Function", "backward", definition.backward, option.FUNCTION)
  return function(...)
    local ctx, arguments = setmetatable({}, Context), table.pack(...)
    local results = table.pack(core.no_grad(forward, ctx, ...))
    if core.grad_enabled() and any_requires_grad(arguments) then
      -- The graph hangs on new tensors over the same memory, which forward never saw. So a context that keeps a
      -- result is not held by it in turn, and what the user had before, and forward returns, keeps its own graph.
      for i = 1, results.n do
        if core.is_tensor(results[i]) then results[i] = results[i]:detach() end
      end
      core.record_function(backward, ctx, arguments, results)
    end
    return table.unpack(results, 1, results.n)
  end
end
