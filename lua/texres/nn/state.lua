--- What a module knows: parameters and buffers as a table from names to tensors, for other modules and for files.
--
-- A tensor that stands in several places (a layer used twice, tied weights) is named after the first of them. A state
-- that names it after another, or after several, is taken too; several must hold the same then.

local core = require "texres.core"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local Module, shape_text = module.Module, module.shape_text

local state = {}

--- A table from name to tensor, parameters and buffers. The tensors share memory with the module.
function Module:state_dict()
  local own = {}
  for name, t in self:named_parameters() do own[name] = t:detach() end
  for name, t in self:named_buffers() do own[name] = t end
  return own
end

-- "a, b, c and 4 more"
local function name_list(names)
  plain.sort(names)
  local shown = table.concat(names, ", ", 1, math.min(#names, 8))
  return #names > 8 and ("%s and %d more"):format(shown, #names - 8) or shown
end

--- The name under which state_dict has what is called `name`, which may be an alias or stand below one.
local function first_name(name, aliases)
  local place, rest = name, ""
  while place do
    if aliases[place] then return first_name(aliases[place] .. rest, aliases) end
    place = place:match "^(.*)%."
    rest = place and name:sub(#place + 1) or ""
  end
  return name
end

local function same(a, b)
  return a.dtype == b.dtype and shape_text(a:shape()) == shape_text(b:shape()) and a:allclose(b, 0, 0)
end

-- The tensors of `given` under the names of `own`; and lists of names: of those that have no place, and of those that
-- share one but differ.
local function sort_out(given, own, aliases)
  local found, called, unexpected, apart = {}, {}, {}, {}
  for name, t in pairs(given) do
    local first = type(name) == "string" and first_name(name, aliases)
    if not own[first] or not core.is_tensor(t) then
      unexpected[#unexpected + 1] = tostring(name)
    elseif found[first] and not same(found[first], t) then
      apart[#apart + 1] = ("%s and %s are one tensor here"):format(table.unpack(plain.sort { called[first], name }))
    else
      found[first], called[first] = t, name
    end
  end
  return found, unexpected, apart
end

--- The tensors of `given` beside those of the module, both by the names there; nil and what doesn't fit.
local function fit(self, given)
  local own = self:state_dict()
  local found, unexpected, different = sort_out(given, own, module.aliases(self))
  local missing, problems = {}, {}
  for name, t in pairs(own) do
    if not found[name] then
      missing[#missing + 1] = name
    else
      local mine, theirs = shape_text(t:shape()), shape_text(found[name]:shape())
      if mine ~= theirs then
        different[#different + 1] = ("%s is %s here, %s in the state"):format(name, mine, theirs)
      end
    end
  end
  if #missing > 0 then problems[#problems + 1] = "missing " .. name_list(missing) end
  if #unexpected > 0 then problems[#problems + 1] = "unexpected " .. name_list(unexpected) end
  if #different > 0 then problems[#problems + 1] = "they differ: " .. name_list(different) end
  if #problems == 0 then return own, found end
  return nil, ("the state does not fit %s: %s"):format(getmetatable(self).__name, table.concat(problems, "; "))
end

--- Whether load_state_dict would take `given`: true, or nil and a message.
function state.fits(self, given)
  local own, problem = fit(self, given)
  if not own then return nil, problem end
  return true
end

-- Copies `given` in when it fits; nil, message otherwise.
local function take(self, given)
  local own, found = fit(self, given)
  if not own then return nil, found end
  core.no_grad(function()
    for name, t in pairs(own) do t:copy_from(found[name]) end
  end)
  return true
end

local TENSORS = option.kind("a table of tensors", "table")

--- Copies the values of a state_dict in, converted to the module's dtypes. Every name must be there with the same
-- shape, and no other: the error lists the missing, unexpected and different ones. Returns self.
function Module:load_state_dict(given)
  option.check("load_state_dict", "the state", given, TENSORS)
  local ok, message = take(self, given)
  if not ok then raise("load_state_dict: %s", message) end
  return self
end

local function is_float(t) return t.dtype == "f32" or t.dtype == "f64" end

--- Puts the tensors of `given` themselves in the place of the module's, so that it has their dtypes too; floats in the
-- place of floats. True, or nil and a message.
function state.adopt(self, given)
  local own, found = fit(self, given)
  if not own then return nil, found end
  for name, t in pairs(own) do
    local new = found[name]
    if t.dtype ~= new.dtype and not (is_float(t) and is_float(new)) then
      return nil, ("the state does not fit: %s is %s here, %s in the state"):format(name, t.dtype, new.dtype)
    end
  end
  local replacement = {}
  for _, entries in ipairs { self:named_parameters(), self:named_buffers() } do
    for name, t in entries do replacement[t] = found[name] end
  end
  module.replace_tensors(self, function(t)
    local new = replacement[t]
    new.requires_grad = t.requires_grad
    return new
  end)
  return true
end

--- Writes the state to a safetensors file, with string `metadata` (optional). True, or nil and a message.
function Module:save(path, metadata)
  return require("texres.safetensors").save(path, self:state_dict(), metadata)
end

--- Reads the state from a safetensors file; from a checkpoint also what the model takes: size, classes, normalization.
-- `options`: {max_bytes=}, the largest header that is read (default: 16 MiB). True, or nil and a message.
function Module:load(path, options)
  local tensors, metadata = require("texres.safetensors").load(path, options)
  if not tensors then return nil, metadata end
  local checkpoint = require "texres.checkpoint"
  local input, problem = checkpoint.input(metadata, options and options.max_bytes)
  if problem then return nil, ("%s: %s"):format(path, problem) end
  local ok, message = take(self, checkpoint.model_part(tensors))
  if not ok then return nil, ("%s: %s"):format(path, message) end
  if input then require("texres.input").give(self, input) end
  return true
end

Module.load = plain.telling(Module.load)

state.first_name, state.fit = first_name, fit

return state
