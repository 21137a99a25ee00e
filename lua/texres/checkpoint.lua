--- Checkpoints: a model with everything needed to use it, in one safetensors file.
--
--     checkpoint.save("best.safetensors", {
--       model = net, classes = { "good", "hole" }, input = { 64, 64, 1 },
--       normalization = { mean = 0.5, std = 0.25 },          -- numbers, or one per channel
--       white = 1,                                           -- what white is in its pixels: see texres.input
--       extra = { epoch = 3 },                               -- any data that JSON can hold
--       tensors = { ["optimizer.1.mean"] = t },              -- more tensors, for resuming
--     })
--     local saved = assert(checkpoint.load "best.safetensors")   -- the same table, with a new model
--
-- What is left out of classes, input, window, normalization, white, integers, temperature, operating_point and novelty
-- (see texres.input) is taken from the model, which has learned it in training or brought it from a file. The model's
-- parameters and buffers stand under their names, additional tensors under "training/NAME", those of what is novel to
-- the model (texres.novelty) under "novelty/NAME". The metadata field "texres"
-- is the rest as JSON; the architecture there is what model:config() gives, so a model of classes without a registered
-- name (see nn.register) is written without architecture, and read back through model:load.

local core = require "texres.core"
local input = require "texres.input"
local json = require "texres.json"
local novelty = require "texres.novelty"
local operating_point = require "texres.metrics.operating_point"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local safetensors = require "texres.safetensors"
local architecture = require "texres.nn.architecture"
local module = require "texres.nn.module"
local state = require "texres.nn.state"

require "texres.nn" -- the classes that files name

local checkpoint = {}

local FORMAT = 1 -- of the metadata
local TRAINING, NOVELTY = "training/", "novelty/" -- what the names of tensors begin with that are none of the model
local SCRIPT = "build the model in the script and call texres.load(path, model)"

-- -- fields -----------------------------------------------------------------------------------------------------------

local is_list = option.is_list
local LARGEST = 0x1.fffffep127 -- of f32, in which pixels are normalized

local function is_finite(value) return type(value) == "number" and math.abs(value) <= LARGEST end
local function is_size(value) return math.type(value) == "integer" and value >= 1 end
local function is_spread(value) return is_finite(value) and value > 0 and 1 / value <= LARGEST end

local function are_names(value)
  local seen = {}
  return is_list(value, function(name)
    if type(name) ~= "string" or name == "" or seen[name] then return false end
    seen[name] = true
    return true
  end)
end

local function is_one_or_list(value, holds) return holds(value) or is_list(value, holds) and #value > 0 end

local function is_normalization(value)
  return type(value) == "table" and is_one_or_list(value.mean, is_finite) and is_one_or_list(value.std, is_spread)
end

-- What stands beside model and tensors, each with what it has to be; checked when written and when read.
local fields = {
  classes = option.kind("a list of different names, none empty", are_names),
  input = option.kind("a list of sizes {H,W,C}", function(value) return is_list(value, is_size) and #value == 3 end),
  window = option.kind("a list of sizes {H,W}", function(value) return is_list(value, is_size) and #value == 2 end),
  normalization = option.kind("{mean=, std=}, finite numbers (in f32) or lists of them, std above 0", is_normalization),
  white = option.kind("a number above 0 (in f32), or false", function(value)
    return value == false or is_spread(value)
  end),
  integers = option.kind("a number above 0 (in f32)", is_spread),
  temperature = option.kind("a number above 0 (in f32)", is_spread),
  operating_point = option.kind("an operating point, as result:operating_point gives it", operating_point.fits),
  novelty = option.kind("what classifier:fit_novelty gives", novelty.is),
  extra = option.any(),
}

-- What does not fit together, as far as it is known: lists of the normalization that are not one number per channel, of
-- the other list or of the input; the classes and that of the operating point.
local function misfit_of(contents)
  if contents.operating_point and contents.classes
    and not operating_point.fits(contents.operating_point, contents.classes) then
    return ("operating_point.good is '%s', which is no class"):format(contents.operating_point.good)
  end
  local normalization, channels = contents.normalization, contents.input and contents.input[3]
  local means, stds = normalization and normalization.mean, normalization and normalization.std
  if type(means) == "table" and type(stds) == "table" and #means ~= #stds and #means > 1 and #stds > 1 then
    return ("normalization.mean has %d numbers, normalization.std %d"):format(#means, #stds)
  end
  for _, name in ipairs { "mean", "std" } do
    local list = channels and normalization and normalization[name]
    if type(list) == "table" and #list ~= 1 and #list ~= channels then
      return ("normalization.%s has %d numbers, the input %d channels"):format(name, #list, channels)
    end
  end
end

--- What is wrong with the fields of a table such as load gives; nil when nothing is.
function checkpoint.problem_of(contents)
  for name, rule in pairs(fields) do
    if contents[name] ~= nil and rule.accept(contents[name]) == nil then
      return ("%s is not %s"):format(name, rule.wanted)
    end
  end
  return misfit_of(contents)
end

-- -- how much a description asks for ----------------------------------------------------------------------------------

-- How many weights a layer of the library has at least, from the arguments of its constructor; nil where it has none.
local function weight_count(name, given)
  local class = module.registry[name]
  local count = type(class) == "table" and rawget(class, "weight_count")
  return count and count(given["1"] or given[1], given["2"] or given[2], given["3"] or given[3],
    given["4"] or given[4]) * 1.0
end

-- Adds up the weights in a description of modules: `count.all`, and those of layers of different sizes (`count.apart`),
-- each once. Raises where it is no such thing.
local function count_weights(data, count)
  if type(data) ~= "table" then return count end
  local given = type(data.arguments) == "table" and data.arguments or {}
  local n = weight_count(data.module, given)
  if n then
    count.all = count.all + n
    local kind = data.module .. n
    if not count[kind] then count[kind], count.apart = true, count.apart + n end
  end
  for _, value in pairs(data) do count_weights(value, count) end
  return count
end

-- A description may ask for far more memory than the file has data for; then it is not worth building. Tied layers are
-- described each by itself, but have their weights once: 256 MB of them, or 16 of each on average, are believed. What
-- is refused here when read is not written either.
local function check_size(description, tensors)
  local have = 0
  for _, t in pairs(tensors) do have = have + t:numel() end
  local want = protect.catch(count_weights, description, { all = 0, apart = 0 })
  if not want or want.apart ~= want.apart or want.apart > have then
    return nil, "the architecture does not fit the tensors in the file"
  end
  local most = math.max(1 << 26, 16 * have)
  if want.all <= most then return true end
  return nil, plain.format("its layers are used again so often that they have %.0f weights to be built, where the file "
    .. "has %d: at most %d are", want.all, have, most)
end

-- -- writing ----------------------------------------------------------------------------------------------------------

local KNOWN = { model = module.IS_MODULE, tensors = option.table() }
for name, rule in pairs(fields) do KNOWN[name] = rule end

local function check_contents(given)
  local contents = option.read("checkpoint.save", given, KNOWN)
  option.check("checkpoint.save", "model", contents.model, module.IS_MODULE)
  local problem = misfit_of(contents)
  if problem then raise("checkpoint.save: %s", problem) end
  return contents
end

-- Says, once for each model and file, that a file can't be read back by itself.
local warned = setmetatable({}, { __mode = "k" })
local function warn_of(path, model, obstacle)
  warned[model] = warned[model] or {}
  if warned[model][path] then return end
  warned[model][path] = true
  require("texres").warn(("%s: saved without architecture, so texres.load(path) cannot rebuild the model: %s. To use "
    .. "the file, %s"):format(path, obstacle, SCRIPT))
end

--- Writes a checkpoint: { model =, classes =, input =, normalization =, extra =, tensors = }, all but the model as far
-- as there is such; the file is replaced as a whole. True, or nil and a message.
function checkpoint.save(path, contents)
  contents = check_contents(contents)
  local tensors = contents.model:state_dict()
  for name, t in pairs(contents.tensors or {}) do tensors[TRAINING .. name] = t end
  local described, obstacle = architecture.tried(contents.model)
  if described then
    local fits, misfit = check_size(described, tensors)
    if not fits then described, obstacle = nil, misfit end
  end
  if not described then warn_of(path, contents.model, obstacle) end
  local info = { format = FORMAT, version = core._VERSION, architecture = described }
  for name, value in pairs(input.fields(contents.model, contents)) do info[name] = value end
  if info.novelty then
    local told, parts = novelty.describe(info.novelty)
    info.novelty = told
    for name, t in pairs(parts) do tensors[NOVELTY .. name] = t end
  end
  info.extra = contents.extra
  local text, problem = json.encode(info)
  if not text then return nil, ("%s: %s"):format(path, problem) end
  return safetensors.save(path, tensors, { texres = text })
end

--- The tensors of a file whose names begin so, by the rest of their names.
local function part_of(tensors, prefix)
  local part = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #prefix) == prefix then part[name:sub(#prefix + 1)] = t end
  end
  return part
end

--- The tensors of a file that belong to the model.
function checkpoint.model_part(tensors)
  local part = {}
  for name, t in pairs(tensors) do
    if name:sub(1, #TRAINING) ~= TRAINING and name:sub(1, #NOVELTY) ~= NOVELTY then part[name] = t end
  end
  return part
end

-- -- reading ----------------------------------------------------------------------------------------------------------

-- Builds the model that the metadata describe, and fills it.
local function build(info, tensors)
  if info.architecture == nil then
    return nil, "the file holds no architecture; " .. SCRIPT
  end
  local fits, misfit = check_size(info.architecture, tensors)
  if not fits then return nil, misfit .. "; " .. SCRIPT end
  local model = architecture.build(info.architecture)
  local part = checkpoint.model_part(tensors)
  if info.architecture.tied == nil then architecture.tie_missing(model, part) end
  local adopted, problem = state.adopt(model, part)
  if not adopted then return nil, problem .. "; " .. SCRIPT end
  return model
end

local function fill(model, tensors) return model:load_state_dict(checkpoint.model_part(tensors)) end

-- The metadata as a table; or nil and a message. `tensors`: those of the file; nil: what is novel is left out.
local function read_info(text, max_bytes, tensors)
  if not text then return nil, "not a texres checkpoint (use model:load for plain parameters)" end
  local info, problem = json.decode(text, max_bytes)
  if type(info) ~= "table" then return nil, "damaged metadata: " .. tostring(problem or "not an object") end
  if type(info.format) == "string" then
    return nil, ("damaged metadata: format is the text %q, not a number"):format(info.format)
  end
  if info.format ~= FORMAT then
    return nil, ("a checkpoint of format %s, written by %s: this is %s, which reads format %d"):format(
      tostring(info.format), tostring(info.version or "an unknown version"), core._VERSION, FORMAT)
  end
  if info.version ~= nil and type(info.version) ~= "string" then
    return nil, "damaged metadata: version is not a text"
  end
  problem = nil
  if info.novelty ~= nil and tensors then
    info.novelty, problem = novelty.of(info.novelty, part_of(tensors, NOVELTY))
  else
    info.novelty = nil
  end
  problem = problem or checkpoint.problem_of(info)
  if problem then return nil, "damaged metadata: " .. problem end
  return info
end

-- A file's tensors and its metadata as a table; or nil and a message.
local function read_file(path, options)
  local tensors, metadata = safetensors.load(path, options)
  if not tensors then return nil, metadata end
  local info, problem = read_info(metadata.texres, options and options.max_bytes, tensors)
  if not info then return nil, ("%s: %s"):format(path, problem) end
  return tensors, info
end

--- What a checkpoint holds beside its model, and `weights`, the model's tensors by name; nil and a message.
function checkpoint.read(path)
  local tensors, info = read_file(path)
  if not tensors then return nil, info end
  local contents = { weights = checkpoint.model_part(tensors), tensors = part_of(tensors, TRAINING) }
  for name in pairs(fields) do contents[name] = info[name] end
  return contents
end

--- Reads a checkpoint: a table as given to save, `model` rebuilt and in evaluation mode. `model` (optional): a module
-- to load into instead of building one. Nil and a message when the file is missing, damaged or not a checkpoint.
-- `options` (optional): {max_bytes=}, see safetensors.load.
function checkpoint.load(path, model, options)
  local tensors, info = read_file(path, options)
  if not tensors then return nil, info end
  local problem
  -- files may hold anything: every failure is the file's
  if model then
    model, problem = protect.catch(fill, model, tensors)
  else
    model, problem = protect.catch(build, info, tensors)
  end
  if model and info.novelty and not novelty.is_of(info.novelty, model) then
    model, problem = nil, "damaged metadata: novelty.layer is no layer of the model"
  end
  if not model then return nil, ("%s: %s"):format(path, problem) end
  local contents = { model = model:eval(), tensors = part_of(tensors, TRAINING) }
  for name in pairs(fields) do contents[name] = info[name] end
  input.give(model, input.new(contents))
  return contents
end

-- Writes a file anew with what choose(contents) gives for what it holds: { temperature =, operating_point =,
-- novelty = }, or nil and a message. All else stays, so that a training goes on from it as before. True, or nil and a
-- message.
local function choose_anew(path, choose)
  local contents, problem = checkpoint.load(path)
  if not contents then return nil, problem end
  local chosen
  chosen, problem = choose(contents)
  if not chosen then return nil, ("%s: %s"):format(path, problem) end
  input.give(contents.model, input.of(contents.model):with(chosen))
  contents.operating_point, contents.novelty = chosen.operating_point, chosen.novelty
  return checkpoint.save(path, contents)
end

--- Puts an operating point, as result:operating_point chooses one, into a checkpoint, in the place of its own; nil
-- takes it away. All else in the file stays, so that a training goes on from it as before. True, or nil and a message:
-- also where the model can't be rebuilt without its script.
function checkpoint.set_operating_point(path, point)
  if point ~= nil then option.check("set_operating_point", "the point", point, fields.operating_point) end
  return choose_anew(path, function(contents)
    if point and not operating_point.fits(point, contents.classes) then
      return nil, ("its classes have no '%s', which is good for the operating point"):format(point.good)
    end
    return { temperature = contents.temperature, operating_point = point, novelty = contents.novelty }
  end)
end

--- Puts what classifier:fit_novelty gave for a checkpoint into it, in the place of its own; nil takes it away. All else
-- stays, as with set_operating_point. True, or nil and a message.
function checkpoint.set_novelty(path, found)
  if found ~= nil then option.check("set_novelty", "what was fitted", found, fields.novelty) end
  return choose_anew(path, function(contents)
    if found and not novelty.is_of(found, contents.model) then
      return nil, ("the model has no layer '%s', of which the novelty is"):format(found.layer)
    end
    return { temperature = contents.temperature, operating_point = contents.operating_point, novelty = found }
  end)
end

--- The input that the metadata of a checkpoint tell, nil for other files; or nil and a message. `tensors`: those of the
-- file, where the layers have their names there.
function checkpoint.input(metadata, max_bytes, tensors)
  if not metadata.texres then return nil end
  local info, problem = read_info(metadata.texres, max_bytes, tensors)
  return info and input.new(info), problem
end

for _, name in ipairs { "save", "read", "load", "set_operating_point", "set_novelty" } do
  checkpoint[name] = plain.telling(checkpoint[name])
end

return checkpoint
