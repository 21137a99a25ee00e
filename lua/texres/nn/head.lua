--- A new last layer for other classes: net:replace_head(6).

local initialize = require "texres.nn.initialize"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"
local Conv2d = require("texres.nn.conv").Conv2d
local Linear = require("texres.nn.linear").Linear
local SqueezeExcitation = require("texres.nn.block").SqueezeExcitation
local Module = module.Module

local OPTIONS = { layer = option.text(), zero = option.switch(false) }

local CLASSES = option.kind("their number, or a list of different names", function(value)
  local seen = {}
  return option.COUNT.accept(value) ~= nil or type(value) == "table" and #value > 0
    and option.is_list(value, function(name)
      local new = type(name) == "string" and name ~= "" and not seen[name]
      if new then seen[name] = true end
      return new
    end)
end)

--- The last dense layer of a model, but for those of a gate, and its name; nil where there is none.
local function last_dense(self)
  local last, last_name, of_gates = nil, nil, {}
  for own, m in self:named_modules() do
    if getmetatable(m) == SqueezeExcitation then of_gates[m.squeeze], of_gates[m.excite] = true, true end
    if getmetatable(m) == Linear and not of_gates[m] then last, last_name = m, own end
  end
  return last, last_name
end

--- The layer that is meant, and its name: that of this name, else the last dense layer.
local function find(self, name)
  if name then return module.layers_named(self, { name }, "replace_head")[1], name end
  local last, last_name = last_dense(self)
  if not last then
    raise("replace_head: %s has no dense layer; name the one that gives the scores: { layer = ... }",
      getmetatable(self).__name)
  end
  return last, last_name
end

--- A layer like this one, for so many classes.
local function make(old, name, count)
  local class = getmetatable(old)
  if class ~= Linear and class ~= Conv2d then
    raise("replace_head: the layer %s is %s, wanted a dense layer or a convolution", name, old:describe())
  elseif class == Conv2d and old.groups ~= 1 then
    raise("replace_head: the layer %s is a convolution in %d groups", name, old.groups)
  end
  local arguments = old:constructor_arguments()
  arguments[2] = count
  return class(table.unpack(arguments, 1, arguments.n)):to(old.weight.dtype)
end

--- Puts `new` in all the places where `old` stands.
local function exchange(self, old, new)
  local places = {}
  local function note(_, value, _, key, t)
    if value == old then places[#places + 1] = { t, key } end
  end
  module.walk(self, note, note)
  if #places == 0 then raise "replace_head: the model is a single layer: make a new one" end
  for _, place in ipairs(places) do place[1][place[2]] = new end
end

--- Puts a new layer in the place of the last dense one, to train the rest further on other classes: `classes` is their
-- number, or the list of their names, as set.classes has it. With names the model keeps the normalization and size that
-- it brought from its own training; with a number it learns them anew. The new layer learns also where the model is
-- frozen; it begins as any does, with { zero = true } at 0, so that all classes are equally likely. { layer = "fc" }
-- names another layer, dense or a convolution. Returns self.
function Module:replace_head(classes, options)
  option.check("replace_head", "classes", classes, CLASSES)
  options = option.read("replace_head", options, OPTIONS)
  local names = type(classes) == "table" and classes
  local old, name = find(self, options.layer)
  local new = make(old, name, names and #names or classes)
  new:train(self.training or rawget(self, "_frozen") ~= nil)
  if options.zero then
    for _, p in ipairs(new:parameters()) do initialize.zeros(p) end
  end
  exchange(self, old, new)
  local input = require "texres.input"
  local own = input.of(self)
  if own then input.give(self, names and own:for_classes(names) or nil) end
  return self
end

return { last_dense = last_dense }
