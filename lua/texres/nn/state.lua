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
  local found, called, left_over, apart = {}, {}, {}, {}
  for name, t in pairs(given) do
    local first = type(name) == "string" and first_name(name, aliases)
    if not own[first] or not core.is_tensor(t) then
      left_over[#left_over + 1] = tostring(name)
    elseif found[first] and not same(found[first], t) then
      apart[first] = ("%s and %s are one tensor here"):format(table.unpack(plain.sort { called[first], name }))
    else
      found[first], called[first] = t, name
    end
  end
  return found, left_over, apart
end

-- What of `given` fits the tensors of the module: {own =, found =}, tables from the module's names to its tensors and
-- to those that fit, and the lists `missing`, `left_over` and `different`, the last in words.
local function compare(self, given)
  local own = self:state_dict()
  local found, left_over, apart = sort_out(given, own, module.aliases(self))
  local missing, different = {}, {}
  for name, t in pairs(own) do
    local mine, theirs = shape_text(t:shape()), found[name] and shape_text(found[name]:shape())
    if not theirs then
      missing[#missing + 1] = name
    elseif apart[name] or mine ~= theirs then
      different[#different + 1] = apart[name] or ("%s is %s here, %s in the state"):format(name, mine, theirs)
      found[name] = nil
    end
  end
  return {
    own = own, found = found, missing = plain.sort(missing), left_over = plain.sort(left_over),
    different = plain.sort(different),
  }
end

--- What is wrong with a comparison, in words; nil when nothing is.
local function problems_of(compared)
  local problems = {}
  for _, kind in ipairs {
    { compared.missing, "missing " }, { compared.left_over, "unexpected " }, { compared.different, "they differ: " },
  } do
    if #kind[1] > 0 then problems[#problems + 1] = kind[2] .. name_list(kind[1]) end
  end
  return problems[1] and table.concat(problems, "; ")
end

--- The tensors of `given` beside those of the module, both by the names there; nil and what doesn't fit.
local function fit(self, given)
  local compared = compare(self, given)
  local problem = problems_of(compared)
  if not problem then return compared.own, compared.found end
  return nil, ("the state does not fit %s: %s"):format(getmetatable(self).__name, problem)
end

--- Whether load_state_dict would take `given`: true, or nil and a message.
function state.fits(self, given)
  local own, problem = fit(self, given)
  if not own then return nil, problem end
  return true
end

local function copy_in(own, found)
  core.no_grad(function()
    for name, t in pairs(found) do own[name]:copy_from(t) end
  end)
end

-- Copies `given` in when it fits; nil, message otherwise.
local function take(self, given)
  local own, found = fit(self, given)
  if not own then return nil, found end
  copy_in(own, found)
  return true
end

local FITTED = {
  __tostring = function(fitted)
    local lines = { ("%d of the model's %d tensors fitted"):format(#fitted.fitted,
      #fitted.fitted + #fitted.missing + #fitted.different) }
    for _, kind in ipairs {
      { "missing", "missing   " }, { "different", "different " }, { "left_over", "left over " },
    } do
      if #fitted[kind[1]] > 0 then lines[#lines + 1] = "  " .. kind[2] .. name_list(fitted[kind[1]]) end
    end
    return table.concat(lines, "\n")
  end,
}

--- Copies in what of `given` fits, and leaves the rest of the module as it is: lists of names {fitted =, missing =,
-- different =, left_over =}, which print() shows; nil and a message where nothing fits. See Module:load.
function state.take_some(self, given)
  local compared = compare(self, given)
  if next(compared.found) == nil then
    return nil, ("nothing of the state fits %s: %s"):format(getmetatable(self).__name,
      problems_of(compared) or "it is empty")
  end
  copy_in(compared.own, compared.found)
  return setmetatable({
    fitted = plain.names(compared.found), missing = compared.missing, different = compared.different,
    left_over = compared.left_over,
  }, FITTED)
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

local LOAD = {
  max_bytes = option.COUNT, -- the largest header that is read; by default 16 MiB
  strict = option.switch(true), -- false: what fits is taken, the rest stays as it is
  map = option.kind("a function(name, tensor) or a table from names to names", function(value)
    return type(value) == "function" or type(value) == "table"
  end),
}

-- Raises where `map` gave no name, or no tensor with it.
local function check_renamed(name, new, changed)
  if new and type(new) ~= "string" then
    raise("load: map calls %s %s, wanted a text, or nil to leave it out", name, option.shown(new))
  elseif changed ~= nil and not core.is_tensor(changed) then
    raise("load: map gives %s for %s, wanted a tensor", option.shown(changed), name)
  end
end

-- The tensors under the names that `map` gives them, and a list of the names of those that it leaves out; nil and a
-- message where two get one name.
local function renamed(tensors, map)
  if type(map) == "table" then
    local names = map
    map = function(name)
      if names[name] == nil then return name end
      return names[name]
    end
  end
  local all, left_out = {}, {}
  for _, name in ipairs(plain.names(tensors)) do
    local t = tensors[name]
    local new, changed = map(name, t)
    check_renamed(name, new, changed)
    if not new then
      left_out[#left_out + 1] = name
    elseif all[new] then
      return nil, ("map calls two tensors %s, the second is %s"):format(new, name)
    else
      all[new] = changed or t
    end
  end
  return all, left_out
end

-- What a file that was taken in part says of the input: classes belong to all of the weights.
local function input_for(input, fitted)
  local whole = fitted == true or #fitted.missing + #fitted.different == 0
  return whole and input or input:unnamed()
end

--- Reads the state from a safetensors file; from a checkpoint also what the model takes: size, classes, normalization.
-- True, or nil and a message. Options:
--
--     max_bytes   the largest header that is read (default: 16 MiB)
--     map         how tensors of the file are called here: a table from names to names, of which false leaves one out,
--                 or a function(name, tensor) that returns a name and, where it is another one, a tensor; nil leaves it
--                 out
--     strict      false takes what fits and leaves the rest of the module as it is: returns lists of names, which
--                 print() shows: {fitted =, missing = (in the file), different = (of another shape), left_over = (of
--                 the file)}; nil and a message where nothing fits. Of a checkpoint that was taken in part, the classes
--                 are left out: what is trained next names them
function Module:load(path, options)
  local o = option.read("load", options, LOAD)
  local tensors, metadata = require("texres.safetensors").load(path, { max_bytes = o.max_bytes })
  if not tensors then return nil, metadata end
  local checkpoint = require "texres.checkpoint"
  local input, problem = checkpoint.input(metadata, o.max_bytes, not o.map and tensors or nil)
  if problem then return nil, ("%s: %s"):format(path, problem) end
  local given, left_out = checkpoint.model_part(tensors), {}
  if o.map then given, left_out = renamed(given, o.map) end
  if not given then return nil, ("%s: %s"):format(path, left_out) end
  local fitted, message = (o.strict and take or state.take_some)(self, given)
  if not fitted then return nil, ("%s: %s"):format(path, message) end
  if fitted ~= true then
    plain.sort(table.move(left_out, 1, #left_out, #fitted.left_over + 1, fitted.left_over))
  end
  if input then require("texres.input").give(self, input_for(input, fitted)) end
  return fitted
end

Module.load = plain.telling(Module.load)

state.first_name, state.fit = first_name, fit

return state
