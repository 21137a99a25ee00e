--- Looking into a network while it works: net:watch(fn, options) and net:features(x, names).
--
--     local hook = net:watch(function(name, module, inputs, outputs)
--       print(name, module:describe(), outputs[1]:mean():item())
--     end, { layers = { "stem", "block2" }, every = 50 })
--     ...
--     hook:close()
--
--     local map = net:features(images, "block2")                 -- what block2 gave
--     local maps = net:features(images, { "block1", "block2" })  -- maps.block1, maps.block2
--
-- A layer that is watched is a step of its own in the plans of the containers around it (texres.nn.plan), as long as it
-- is; all others are joined as usual. Joined layers sum in another order, so that what a network gives, and its
-- gradients, may differ in the last bits while it is watched. In passes that `every` leaves out nothing differs.

local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"

local Module = module.Module

-- -- names ------------------------------------------------------------------------------------------------------------

--- The modules of these names, or all of them: a table from module to name, and one from name to module.
local function find(net, names, what)
  local found, modules = {}, {}
  if not names then
    for name, m in net:named_modules() do found[m], modules[name] = name, m end
    return found, modules
  end
  for i, m in ipairs(module.layers_named(net, names, what)) do
    found[m], modules[names[i]] = found[m] or names[i], m
  end
  return found, modules
end

--- A list of names from one or several; nil for none.
local function as_list(names, what)
  if names == nil then return nil end
  local list = type(names) == "table" and names or { names }
  for _, name in ipairs(list) do
    if type(name) ~= "string" then
      raise("%s is %s, wanted a layer's name or a list of them", what, option.shown(name))
    end
  end
  if #list == 0 then raise("%s: the list of layers is empty", what) end
  return list
end

-- -- hooks ------------------------------------------------------------------------------------------------------------

local Hook = strict.class("a watch", {}, { "closed", "layers" })

--- The watcher of the pass that begins; nil where `every` leaves it out.
function Hook:begin(net)
  self.passes = self.passes + 1
  if (self.passes - 1) % self.every ~= 0 then return nil end
  local names, fn = find(net, self.layers, "watch"), self.fn
  return {
    layers = self.layers and names,
    fn = function(m, _, inputs, outputs)
      if names[m] and not self.closed then fn(names[m], m, inputs, outputs) end
    end,
  }
end

--- Ends the watching, also in the middle of a pass. A second time does nothing.
function Hook:close()
  self.closed = true
  module.unhook(self.net, self)
end

Hook.__close = Hook.close

--- What is watched, and how often.
function Hook:__tostring()
  return plain.format("watch of %s, every %d passes, after %d",
    self.layers and table.concat(self.layers, ", ") or "all layers", self.every, self.passes)
end

local OPTIONS = { layers = option.any(), every = option.integer(1, "[1, inf)") }

--- Calls fn(name, module, inputs, outputs) for each layer in each forward pass of this module, after the layer has done
-- its work; containers are layers, too, and this module itself is the last, with the name "". `inputs` and `outputs`
-- are lists of what it was called with and returned. Options: layers (a name, or a list of names as named_modules gives
-- them; default: all), every (1: the first of so many passes). A pass is a call of this module; trials of the library
-- (summary, profile, a trainer's checks) are not seen, nor is what fn itself calls. Returns an object whose close()
-- ends it.
function Module:watch(fn, options)
  if type(fn) ~= "function" then
    raise("watch: expected a function(name, module, inputs, outputs), got %s", type(fn))
  end
  local o = option.read("watch", options, OPTIONS)
  local layers = as_list(o.layers, "watch: layers")
  find(self, layers, "watch")
  local hook = setmetatable({ net = self, fn = fn, layers = layers, every = o.every, passes = 0 }, Hook)
  module.hook(self, hook)
  return hook
end

-- -- features ---------------------------------------------------------------------------------------------------------

--- What the layer of this name gives when this module is called with x: a tensor, with its graph where gradients are
-- on. Of a list of names a table from each name to its tensor. Modes are left as they are: call eval() before. Where a
-- layer is called several times in a pass, its last output is taken.
function Module:features(x, names)
  if not core.is_tensor(x) then raise("features: expected an input for the module, got %s", option.shown(x)) end
  if names == nil then raise "features: expected the name of a layer, or a list of them" end
  local list = as_list(names, "features: the name")
  local outputs = {}
  local wanted, modules = find(self, list, "features")
  local function keep(m, _, _, given)
    if wanted[m] then outputs[m] = given[1] or false end
  end
  module.with_watcher({ layers = wanted, fn = keep }, self, x)
  local found = {}
  for _, name in ipairs(list) do
    local output = outputs[modules[name]]
    if not core.is_tensor(output) then
      raise("features: the layer %s %s", option.shown(name),
        output == nil and "was not called in this pass" or "gave no tensor")
    end
    found[name] = output
  end
  return type(names) == "table" and found or found[names]
end
