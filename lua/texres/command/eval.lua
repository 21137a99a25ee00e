--- texres eval: how well a network does on a set of images, and a page about it (classifier:evaluate, report.tested).

local arguments = require "texres.command.arguments"
local plain = require "texres.plain"
local report = require "texres.report"

--- What the operating point does to these images, as a text; nil where they have no good ones, or no others.
local function at_point(classifier, result)
  local point = classifier.operating_point
  if not point then return nil end
  local goods = result.per_class[require("texres.classes").find(result.classes, point.good)].support
  if goods == 0 or goods == result.images then return nil end
  local at = result:at_operating_point(point)
  local function text(share)
    return plain.format("%s (%.1f to %.1f)", plain.percent(share.value), 100 * share.low, 100 * share.high)
  end
  return ("at the operating point:\n  defects that pass     %s\n  good pieces rejected  %s"):format(text(at.escape),
    text(at.false_reject))
end

return {
  summary = "How well a network does on a set of images.",
  examples = {
    { "eval run new-roll/", "metrics, and a page with pictures: run/eval.html" },
    { "eval run test64.h5 --groups source --report roll7.html", "limits over whole photographs" },
  },
  describe = function(parser)
    arguments.model(parser)
    arguments.set(parser)
    parser:option("--report", "The page. By default eval.html beside the network."):argname "FILE"
    arguments.testing(parser)
    arguments.threads(parser)
  end,
  run = function(options)
    local classifier, set, path = arguments.open_model_and_set(options)
    if not classifier then return nil, set end
    local result = classifier:evaluate(set, arguments.testing_options(options))
    result:show()
    local line = at_point(classifier, result)
    if line then print("\n" .. line) end
    local page = options.report or arguments.beside(path, "eval.html")
    local ok, message = report.tested(page, classifier, { { name = set.origin or "Test", result = result } },
      arguments.run_of(path))
    if not ok then return nil, message end
    print("\nreport: " .. plain.visible_name(page))
  end,
}
