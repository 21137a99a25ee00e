--- texres: residual networks in Lua, computed in C.
--
-- `require "texres"` returns the public face: what is listed below, and the differentiable functions. The C core behind
-- it (texres.core: csrc/lua) has more, for the library's own files. Parts of the Lua layer are loaded when they are
-- first used, so that `require` stays quick and needs no other modules. Loading changes nothing outside of the module.
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

local core = load_core()
debug.getregistry()["texres.library"] = "@" .. folder -- errors blame the first line outside of this folder
require "texres.tensor"
local strict = require "texres.strict"

local texres = { _VERSION = core._VERSION }

--- What is public of the core besides the differentiable functions, csrc/autograd/list.h.
local PUBLIC = {
  -- tensors
  "tensor", "empty", "zeros", "ones", "full", "eye", "arange", "empty_like", "zeros_like", "ones_like", "full_like",
  "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "is_tensor", "isa", "allclose", "cumsum",
  "split", "chunk",
  -- gradients, random numbers
  "no_grad", "enable_grad", "grad_enabled", "manual_seed", "rng_state",
  -- files
  "load_npy", "save_npy", "load_npz", "load_hdf5", "hdf5_datasets", "load_image", "write_png", "read_csv",
  -- the machine
  "num_threads", "set_num_threads", "live_bytes", "trim_memory", "clock", "conv2d_plan", "fma_peak", "dot_peak",
}
for _, name in ipairs(PUBLIC) do texres[name] = core[name] end

texres.make_folder = core.process.make_folder
for _, name in ipairs(core.help()) do texres[name] = core[name] end

--- Members that a file of their own defines: name -> module (the member is the module), or {module, field}.
local parts = {
  nn = "texres.nn",
  optim = "texres.optim",
  models = "texres.models",
  onnx = "texres.onnx",
  data = "texres.data",
  warn = "texres.warn",
  line = "texres.line",
  distributed = "texres.distributed",
  gradcheck = "texres.gradcheck",
  doctor = "texres.doctor",
  bench = { "texres.bench", "run" },
  help = "texres.help",
  Function = "texres.function",
  Trainer = "texres.trainer",
  metrics = "texres.metrics",
  perceptilabs = "texres.perceptilabs",
  report = "texres.report",
  explain = "texres.explain",
  average = "texres.average",
  compare = "texres.metrics.compare",
  cross_validate = "texres.cross_validate",
  sweep = "texres.sweep",
  train = { "texres.train", "run" },
  repl = "texres.repl",
  find_lr = { "texres.train", "find_lr" },
  load = { "texres.classifier", "load" },
  Ensemble = { "texres.classifier", "ensemble" },
  save = { "texres.checkpoint", "save" },
  set_operating_point = { "texres.checkpoint", "set_operating_point" },
  set_novelty = { "texres.checkpoint", "set_novelty" },
}

for name, part in pairs(parts) do
  parts[name] = function()
    if type(part) == "table" then return require(part[1])[part[2]] end
    return require(part)
  end
end
strict.methods("a tensor", core.methods, { "dtype", "requires_grad", "grad", "is_leaf", "operation" })
strict.table("texres.nn.functional", core.functional, nil, { core.methods, texres })
return strict.table("texres", texres, parts, { core.methods, core.functional })
