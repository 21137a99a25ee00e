--- The mean of the weights of several networks, which is often better than each of them and costs no more than one:
--
--     local net = assert(texres.average { "runs/1/best.safetensors", "runs/2/best.safetensors" })
--     texres.save("average.safetensors", { model = net })
--
-- That holds for networks that come from the same weights, by fine-tuning with other seeds and rates or as epochs of
-- one run; of networks that began apart it makes nothing useful. Wortsman et al., "Model soups", 2022; Izmailov et al.,
-- "Averaging weights leads to wider optima and better generalization", 2018.

local checkpoint = require "texres.checkpoint"
local core = require "texres.core"
local input = require "texres.input"
local json = require "texres.json"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local protect = require "texres.protect"
local raise = require "texres.raise"
local state = require "texres.nn.state"
local BatchNorm = require("texres.nn.norm").BatchNorm

local WEIGHT = option.number(nil, "[0, inf)")

local KNOWN = {
  weights = option.kind("a list of numbers of at least 0", function(value)
    return option.is_list(value, function(weight) return WEIGHT.accept(weight) ~= nil end)
  end), -- how much each counts; by default all the same
  statistics = option.any(), -- a set that the running statistics of batch norm are measured on anew, in place of a mean
  batch = option.integer(128, "[1, inf)"), -- images at a time there
}

-- What has to be the same for all: what the networks take and tell.
local SHARED = { "classes", "input", "window", "normalization", "white", "integers" }

--- What each file counts, their sum being 1.
local function shares_of(given, count)
  if given and #given ~= count then raise("average: %d weights for %d files", #given, count) end
  local shares, sum = {}, 0
  for i = 1, count do
    shares[i] = given and given[i] or 1
    sum = sum + shares[i]
  end
  if sum == 0 then raise "average: all weights are 0" end
  if sum == math.huge then raise "average: the weights are too large to be added up" end
  for i in ipairs(shares) do shares[i] = shares[i] / sum end
  return shares
end

local ONLY_TRAINING = { Dropout = true, StochasticDepth = true } -- layers in which networks of one kind may differ

local function class_of(m) return getmetatable(m).__name end

--- A container with the order of its items, and how those of a Graph are wired.
local function order_of(container)
  local names = {}
  for _, key in ipairs(container._items) do
    if not ONLY_TRAINING[class_of(container[key])] then names[#names + 1] = tostring(key) end
  end
  local steps = rawget(container, "_steps")
  local wires = steps and " " .. json.encode(steps) or ""
  return ("%s of %s%s"):format(class_of(container), table.concat(names, ", "), wires)
end

--- What of a layer has to be the same: all but what counts in training alone.
local function kind_of(m)
  local class = class_of(m)
  if class == "BatchNorm" then return ("BatchNorm(%d, {eps=%s})"):format(m.gamma:numel(), plain.text(m.eps)) end
  if rawget(m, "_items") then return order_of(m) end
  return #m:children() > 0 and class or m:describe()
end

--- What each layer of a network is, by name.
local function layers_of(model)
  local layers = {}
  for name, m in model:named_modules() do
    if not ONLY_TRAINING[class_of(m)] then layers[name == "" and "itself" or name] = kind_of(m) end
  end
  return layers
end

--- Why a network is of another kind than the first, though its weights may fit; nil where it is of the same.
local function other_kind(first, other)
  local own, theirs = layers_of(first), layers_of(other)
  for _, layers in ipairs { own, theirs } do
    for _, name in ipairs(plain.names(layers)) do
      if own[name] ~= theirs[name] then
        return ("the layer %s is %s, in the first file %s"):format(name, theirs[name] or "missing",
          own[name] or "missing")
      end
    end
  end
end

--- Why a file can't be averaged with the first; nil where it can.
local function difference(first, other)
  for _, name in ipairs(SHARED) do
    if json.encode(first[name] or false) ~= json.encode(other[name] or false) then
      return ("its %s is not that of the first file"):format(name)
    end
  end
  local fits, message = state.fits(first.model, other.model:state_dict())
  if not fits then return message end
  return other_kind(first.model, other.model)
end

local function is_float(t) return t.dtype == "f32" or t.dtype == "f64" end

--- Adds share * t of each tensor to the sums, in f64; what is no float is that of the first file.
local function add(sums, weights, share)
  for name, t in pairs(weights) do
    if is_float(t) then
      local part = t:to "f64" * share
      sums[name] = sums[name] and sums[name] + part or part
    else
      sums[name] = sums[name] or t
    end
  end
end

--- The running statistics that the network sees with the weights that it has: the means over the batches of a set.
local function measure(model, set, batch)
  local norms, momenta = {}, {}
  for _, m in ipairs(model:modules()) do
    if getmetatable(m) == BatchNorm then norms[#norms + 1], momenta[m] = m, m.momentum end
  end
  local single = #set > batch and #set % batch == 1 -- has no variance
  local loader = input.of(model):loader(set, { batch = batch, drop_last = single }, "average: statistics")
  local count = 0
  protect.finally(function()
    for m, momentum in pairs(momenta) do m.momentum = momentum end
    model:eval()
  end, core.no_grad, function()
    for images in loader:batches(1) do
      count = count + 1
      for _, m in ipairs(norms) do m.training, m.momentum = true, 1 / count end
      model(images:to(module.float_dtype(model)))
    end
  end)
end

--- Reads the files, checks them and gives their mean.
local function mean_of(paths, shares)
  local first, sums = nil, {}
  for i, path in ipairs(paths) do
    local contents, message = checkpoint.load(path)
    if not contents then return nil, message end
    first = first or contents
    local problem = contents ~= first and difference(first, contents)
    if problem then return nil, ("%s: %s"):format(path, problem) end
    core.no_grad(add, sums, contents.model:state_dict(), shares[i])
  end
  return first.model:load_state_dict(sums)
end

--- Averages the networks of files, a list of paths; the options stand among them: weights (a number for each), and
-- statistics, a set of images of the training, on which the running statistics of batch norm are measured anew, which
-- networks that lie further apart need. They have to be of one kind, with the same classes and normalization. Gives the
-- network in evaluation mode, without calibration, operating point and novelty; or nil and a message.
local function average(given)
  local o = option.read("average", given, KNOWN, true)
  local paths = {}
  for i, path in ipairs(o) do paths[i] = option.check("average", "file " .. i, path, option.PATH) end
  if #paths == 0 then raise "average: no files: give a list of paths" end
  if o.statistics then input.check_set(o.statistics, "average: statistics") end
  local model, message = mean_of(paths, shares_of(o.weights, #paths))
  if not model then return nil, message end
  input.give(model, input.of(model):bare())
  if o.statistics then measure(model, o.statistics, o.batch) end
  return model
end

return plain.telling(average)
