--- Heat maps: where in an image a class was seen. Each is f32 {H,W} of the image's size.

local core = require "texres.core"
local layers = require "texres.explain.layers"
local module = require "texres.nn.module"
local option = require "texres.options"
local raise = require "texres.raise"
local resample = require "texres.explain.resample"
local target = require "texres.explain.target"

local heat = {}

-- Heat maps of all models behind `of`, averaged: one(model, pixels, class, o) for each.
local function explained(what, of, image, given, known, one)
  local o = option.read(what, given, known)
  local models, batch = target.models(what, of), target.batch(what, image)
  local class = target.class(what, models, batch, o)
  return target.mean_over(models, function(model)
    return one(model, target.pixels(what, model, batch, o.white), class, o):to "f32"
  end)
end

-- -- class activation maps --------------------------------------------------------------------------------------------

-- Maps of the layer `what` is asked about; weights(gradient) gives what its activations are multiplied by.
local function class_activation_map(what, weights)
  return function(model, pixels, class, o)
    local calls = layers.calls(model, pixels)
    local layer = o.layer and module.layers_named(model, { o.layer }, what)[1] or layers.last_map(what, calls)
    local tap = layers.tap(layer, "leaf")
    core.enable_grad(function() target.score(what, model, pixels, class):sum():backward() end)
    local map = tap.value
    if not map or not map.grad then
      raise("%s: the score does not depend on the layer '%s'", what, o.layer or layer:describe())
    end
    if map:dim() ~= 4 then
      raise("%s: the layer '%s' gives %s, wanted a map {N,H,W,C}", what, o.layer, module.shape_text(map:shape()))
    end
    local cam = (map:detach() * weights(map.grad)):sum(4):relu():squeeze(1):to "f32"
    return resample.map(cam, pixels:size(2), pixels:size(3), layers.grid(calls, pixels, cam:size(1), cam:size(2)))
  end
end

local grad_cam = class_activation_map("grad_cam", function(gradient) return gradient:mean({ 2, 3 }, true) end)
local hires_cam = class_activation_map("hires_cam", function(gradient) return gradient end)

--- Where the channels of a layer that speak for a class are active: their sum, weighted by the mean gradient of the
-- class's score in each, where it is above 0, interpolated to the image's size. The score is the logit; for class =
-- "defect" the log odds of 1 - p(good). Cells of the layer are put where the middles of their windows lie, which for
-- convolutions of odd size and stride is not the middle of their part of the image. R. Selvaraju et al., "Grad-CAM",
-- 2017.
-- @param of a classifier, an ensemble (maps are averaged), or a model, which is given the image as it is unless it has
-- an input of its own; it is left as it is
-- @tparam Tensor image {H,W} or {H,W,C}, as for predict; it may be larger than those of the training where the model
-- takes that
-- @tparam[opt] table options class: a name, a number, or "defect" for all but the `good` one (default: the predicted
-- class); layer: a name such as "block2" (default: the last layer that gives a map of several rows and columns); good
-- ("good"); white, as for predict
-- @treturn Tensor f32 {H,W}, not negative, in units of the score
function heat.grad_cam(of, image, options)
  return explained("grad_cam", of, image, options, target.known { layer = option.text() }, grad_cam)
end

--- Where a layer adds to the score of a class: its activations, each multiplied by the score's gradient there, summed
-- over channels, where that is above 0; interpolated as by grad_cam. Behind a global mean both maps are the same.
-- Behind a largest value (heads "gmp", "mean_max") that of grad_cam, which takes the mean gradient of each channel, may
-- be empty where the class is sure: this one shows the places that the head took. R. Draelos, L. Carin, "Use HiResCAM
-- instead of Grad-CAM for faithful explanations of convolutional neural networks", 2020.
-- @param of as for grad_cam
-- @tparam Tensor image as for grad_cam
-- @tparam[opt] table options those of grad_cam: class, layer, good, white
-- @treturn Tensor f32 {H,W}, not negative, in units of the score
function heat.hires_cam(of, image, options)
  return explained("hires_cam", of, image, options, target.known { layer = option.text() }, hires_cam)
end

-- -- occlusion --------------------------------------------------------------------------------------------------------

-- Where patches begin so that they cover 1..size.
local function starts(size, patch, stride)
  local list = {}
  for at = 1, size - patch, stride do list[#list + 1] = at end
  list[#list + 1] = size - patch + 1
  return list
end

-- The rectangles that are covered in turn: a list of {top, left}.
local function places(height, width, patch, stride)
  local list = {}
  for _, top in ipairs(starts(height, patch, stride)) do
    for _, left in ipairs(starts(width, patch, stride)) do list[#list + 1] = { top, left } end
  end
  return list
end

local function rect(map, place, patch)
  return map:slice(1, place[1], place[1] + patch - 1):slice(2, place[2], place[2] + patch - 1)
end

-- The image {H,W,C} moved by half its size, what leaves it coming in on the other side.
local function half_away(image)
  for side = 1, 2 do
    local size = image:size(side)
    local half = size // 2
    if half > 0 then image = core.cat({ image:slice(side, half + 1, size), image:slice(side, 1, half) }, side) end
  end
  return image
end

-- The images with patch number first..last covered by what stands there in `cover`.
local function covered(pixels, cover, list, first, last, patch)
  local _, h, w, c = table.unpack(pixels:shape())
  local images = pixels:expand(last - first + 1, h, w, c):clone()
  for i = first, last do rect(images[i - first + 1], list[i], patch):copy_from(rect(cover, list[i], patch)) end
  return images
end

local function fall_of_odds(model, pixels, class, o)
  local height, width = pixels:size(2), pixels:size(3)
  local patch = math.min(o.patch or math.max(1, math.min(height, width) // 8), height, width)
  local stride = o.stride or math.max(1, patch // 2)
  if stride > patch then raise("occlusion: a stride of %d leaves pixels between patches of %d", stride, patch) end
  local list = places(height, width, patch, stride)
  local falls, times = core.zeros(height, width), core.zeros(height, width)
  local cover = o.cover == "cloth" and half_away(pixels[1]) or core.zeros_like(pixels[1])
  local whole = target.odds("occlusion", model, pixels, class):item()
  for first = 1, #list, o.batch do
    local last = math.min(first + o.batch - 1, #list)
    local images = covered(pixels, cover, list, first, last, patch)
    for i, odds in ipairs(target.odds("occlusion", model, images, class):totable()) do
      local place = list[first + i - 1]
      local there, count = rect(falls, place, patch), rect(times, place, patch)
      there:copy_from(there + (whole - odds))
      count:copy_from(count + 1)
    end
  end
  return falls / times
end

--- How far the log odds of a class, log(p / (1 - p)), fall when a patch of the image is covered: for every pixel the
-- mean over the patches that cover it. (The probability itself hardly falls where the model is sure.) M. Zeiler
-- and R. Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
-- @param of as for grad_cam; the image, too
-- @tparam[opt] table options class, good, white as for grad_cam; patch: its side in pixels (an eighth of the image's
-- shorter side); stride: pixels from patch to patch (half a patch); batch (32): patches at a time; cover: "mean" (the
-- mean pixel of the training, or, without a normalization, black) or "cloth": what the image shows half its size away.
-- A plain patch on cloth may look like a defect itself; take "cloth" where the defect is small beside the image
-- @treturn Tensor f32 {H,W}, negative where covering makes the class likelier
function heat.occlusion(of, image, options)
  return explained("occlusion", of, image, options, target.known {
    patch = option.COUNT, stride = option.COUNT, batch = option.integer(32, "[1, inf)"),
    cover = option.choice("mean", { "mean", "cloth" }),
  }, function(...) return core.no_grad(fall_of_odds, ...) end)
end

-- -- integrated gradients ---------------------------------------------------------------------------------------------

-- The mean gradient of the score on the way from `from` to `to`, at the middles of `steps` equal parts.
local function mean_gradient(model, from, to, class, o)
  local way, sum = to - from
  for first = 1, o.steps, o.batch do
    local last = math.min(first + o.batch - 1, o.steps)
    local part = ((core.arange(first, last, { dtype = to.dtype }) - 0.5) / o.steps):reshape(last - first + 1, 1, 1, 1)
    local images = (from + way * part):detach()
    images.requires_grad = true
    core.enable_grad(function() target.score("integrated_gradients", model, images, class):sum():backward() end)
    local gradient = images.grad:sum(1, true)
    sum = sum and sum + gradient or gradient
  end
  return sum / o.steps
end

--- What each pixel adds to the score of a class on the straight way from a baseline to the image, the gradient being
-- integrated: all pixels together add up to the difference of the scores (completeness), the nearer the more steps. The
-- score is that of grad_cam. M. Sundararajan, A. Taly and Q. Yan, "Axiomatic Attribution for Deep Networks", 2017.
-- @param of as for grad_cam; the image, too
-- @tparam[opt] table options class, good, white as for grad_cam; steps (32); batch (16): steps at a time; baseline: an
-- image of the same size and range (default: the mean pixel of the training, or, without a normalization, black)
-- @treturn Tensor f32 {H,W}, of both signs, in units of the score; channels are summed
-- @treturn number what it adds up to with endless steps: the score of the image less that of the baseline
function heat.integrated_gradients(of, image, options)
  local what, difference, members = "integrated_gradients", 0, 0
  local map = explained(what, of, image, options, target.known {
    steps = option.integer(32, "[1, inf)"), batch = option.integer(16, "[1, inf)"), baseline = option.any(),
  }, function(model, pixels, class, o)
    local from = core.zeros_like(pixels)
    if o.baseline then from = target.pixels(what, model, target.batch(what, o.baseline), o.white) end
    if module.shape_text(from:shape()) ~= module.shape_text(pixels:shape()) then
      raise("%s: the baseline is %s, the image %s", what, module.shape_text(from:shape()),
        module.shape_text(pixels:shape()))
    end
    local scores = core.no_grad(target.score, what, model, core.cat({ from, pixels }, 1), class):totable()
    difference, members = difference + scores[2] - scores[1], members + 1
    return ((pixels - from) * mean_gradient(model, from, pixels, class, o)):sum(4):squeeze(1)
  end)
  return map, difference / members
end

return heat
