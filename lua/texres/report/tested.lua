--- The page about a trained network and what it does on sets of images, gathered for texres.report.html.

local answers = require "texres.report.answers"
local draw = require "texres.nn.draw"
local facts = require "texres.report.facts"
local input = require "texres.input"
local inside = require "texres.report.inside"
local module = require "texres.nn.module"
local protect = require "texres.protect"

--- What the network makes of the first image; nil where it has none.
local function inside_of(model, result, folder)
  local set = result and result.sets and result.sets[1]
  local image = set and set:get(1)
  if not image then return nil end
  local pixels = input.of(model):batch(image:unsqueeze(1), "report"):to(module.float_dtype(model))
  return inside.pictures(model, pixels, folder)
end

--- The description of a page. `items`: { name =, result = of classifier:evaluate }; `told`: what a run's folder tells
-- (texres.report.compare), or nil; `folder`: of the page.
return function(classifier, items, told, folder)
  local model, point, results, rows = classifier.model, classifier.operating_point, {}, {}
  local why = facts.why(classifier)
  for i, item in ipairs(items) do
    local set = item.result.sets and item.result.sets[1]
    results[i] = { name = item.name, result = item.result, point = point }
    if set then
      results[i].pictures = answers.pictures({ operating_point = point }, item.result, set, folder, why)
      rows[i] = { item.name, facts.set(set) }
    end
  end
  local shape = classifier.input and { 1, table.unpack(classifier.input) }
  return {
    title = told and told.title or model.name or "network", history = told and told.history or {},
    best = told and told.best, results = results, configuration = told and told.configuration or {},
    environment = facts.environment(), operating_point = point, data = rows[1] and rows,
    summary = shape and tostring(model:summary(shape)), parameters = told and told.parameters
      or model:num_parameters(), drawing = shape and draw.svg(model, shape),
    inside = shape and protect.catch(inside_of, model, results[1] and results[1].result, folder),
  }
end
