--- The images of a set that a model finds most alike.
--
--     local index = tr.explain.neighbours(clf, train)
--     for _, n in ipairs(index:nearest(image, 5)) do print(n.index, n.class, n.group, n.distance) end

local core = require "texres.core"
local input = require "texres.input"
local layers = require "texres.explain.layers"
local module = require "texres.nn.module"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local strict = require "texres.strict"
local target = require "texres.explain.target"

local Neighbours = strict.class("an index of neighbours", {}, { "groups" })

function Neighbours:__tostring()
  return plain.format("index of %d images, %d features each", self.features:size(1), self.features:size(2))
end

-- Maps {N,H,W,C} as their means {N,C}, other features as {N,D}; of unit length, f32.
local function as_rows(features)
  local dims = features:dim()
  if dims == 4 then
    features = features:mean { 2, 3 }
  elseif dims ~= 2 then
    features = features:reshape(features:size(1), features:numel() // features:size(1))
  end
  features = features:to "f32"
  return features / features:norm(2, true):clamp { min = 1e-12 }
end

-- What model gives as features {N,D} of pixels that it takes; `name`: the layer's, nil for what the last one is given.
local function extractor(model, name)
  local tap
  local function begin(pixels)
    if name then return layers.tap(module.layers_named(model, { name }, "neighbours")[1], "output") end
    return layers.tap(layers.last("neighbours", layers.calls(model, pixels)), "input")
  end
  return function(pixels)
    tap = tap or begin(pixels:slice(1, 1, 1))
    model(pixels)
    if not tap.value then raise("neighbours: the model does not call the layer '%s'", name) end
    return as_rows(tap.value)
  end
end

-- Features of several models side by side: the cosine of two rows is the mean of those of the models.
local function joined(parts) return #parts == 1 and parts[1] or core.cat(parts, 2) / (#parts) ^ 0.5 end

local KNOWN = { layer = option.text(), batch = option.integer(128, "[1, inf)") }

--- An index of the features of a set's images, by which images are found that a model finds alike.
-- @param of a classifier, an ensemble, or a model with an input of its own (a trained one)
-- @tparam Set set its images are read as those of evaluate are
-- @tparam[opt] table options layer: whose output is taken, a map {H,W,C} averaged over its pixels (default: what the
-- last layer, which gives the scores, is given); batch (128): images at a time
-- @return an index, with the method nearest and `features`, f32 {images, features}, rows of unit length
local function neighbours(of, set, options)
  local o = option.read("neighbours", options, KNOWN)
  local models, extract, parts = target.models("neighbours", of), {}, {}
  for m, model in ipairs(models) do
    local takes = input.of(model)
    if not takes then raise "neighbours: the model has no input of its own: take a classifier, or a trained model" end
    extract[m] = extractor(model, o.layer)
    local loader, rows = takes:loader(set, { batch = o.batch }, "neighbours: the set"), {}
    core.no_grad(function()
      for images in loader:batches(1) do rows[#rows + 1] = extract[m](target.as(model, images)) end
    end)
    parts[m] = core.cat(rows, 1)
  end
  return setmetatable({
    features = joined(parts), models = models, extract = extract, set = set, groups = set.group and set.meta[set.group],
  }, Neighbours)
end

--- The k images of the set that are most like an image, the nearest first.
-- @tparam Tensor image {H,W} or {H,W,C}, as for predict
-- @tparam[opt=5] integer k at most as many as there are
-- @tparam[opt] table options white, as for predict
-- @treturn table list of { index = position in the set, distance = 1 - cosine (0 alike, 2 opposite), class = name,
-- group = value where the set has groups }
function Neighbours:nearest(image, k, options)
  k = option.check("nearest", "k", k or 5, option.COUNT)
  local o = option.read("nearest", options, { white = target.KNOWN.white })
  local parts, batch = {}, target.batch("nearest", image)
  core.no_grad(function()
    for m, model in ipairs(self.models) do
      parts[m] = self.extract[m](target.pixels("nearest", model, batch, o.white))
    end
  end)
  local alike = self.features:matmul(joined(parts):squeeze(1))
  local cosines, positions = alike:topk(math.min(k, alike:size(1)))
  cosines, positions = cosines:totable(), positions:totable()
  local list = {}
  for i, index in ipairs(positions) do
    list[i] = {
      index = index, distance = math.max(0, 1 - cosines[i]), class = self.set.classes[self.set.label[index]],
      group = self.groups and self.groups[index],
    }
  end
  return list
end

return neighbours
