--- texres: residual networks in Lua, computed in C.
--
-- `require "texres"` returns the C core (tensors, autograd, functions: csrc/lua) with the Lua layer added to it. Parts
-- of the Lua layer are loaded when they are first used, so that `require` stays quick and needs no other modules.
-- Loading changes nothing outside of the module.
--
-- The library belongs to the thread of the host that loads it, until all Lua states that have loaded it are closed:
-- states of this thread may take turns, others are refused. A forked process may use it, but has to begin loaders anew.
-- A name that is nearly that of a member, `texres.sofmax`, is an error that tells the member; any other is nil, so that
-- `if texres.mpi then` asks whether there is such a member: see texres.strict.
-- @module texres

local source = debug.getinfo(1, "S").source
local folder = source:match "^@(.*)init%.lua$" or "./"

--- The core as the searchers find it, else the one that was built beside this file (a checkout).
local function load_core()
  local found, core = pcall(require, "texres.core")
  if found then return core end
  local open = package.loadlib(folder .. "core.so", "luaopen_texres_core")
  if not open then error(core, 0) end
  package.loaded["texres.core"] = open()
  return package.loaded["texres.core"]
end

local texres = load_core()
texres._VERSION = "texres 0.1"
debug.getregistry()["texres.library"] = "@" .. folder -- errors blame the first line outside of this folder
require "texres.tensor"
local strict = require "texres.strict"

--- Members that a file of their own defines: name -> module (the member is the module), or {module, field}.
local parts = {
  nn = "texres.nn",
  optim = "texres.optim",
  models = "texres.models",
  onnx = "texres.onnx",
  data = "texres.data",
  warn = "texres.warn",
  gradcheck = "texres.gradcheck",
  Function = "texres.function",
  Trainer = "texres.trainer",
  load = { "texres.classifier", "load" },
  save = { "texres.checkpoint", "save" },
}

for name, part in pairs(parts) do
  parts[name] = function()
    if type(part) == "table" then return require(part[1])[part[2]] end
    return require(part)
  end
end
strict.methods("a tensor", texres.methods, { "dtype", "requires_grad", "grad", "is_leaf", "operation" })
strict.table("texres.nn.functional", texres.functional, nil, { texres.methods, texres })
return strict.table("texres", texres, parts, { texres.methods, texres.functional })
