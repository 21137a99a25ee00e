--- texres report: the page of a run, made anew, with what its network does on other sets (report.tested).

local arguments = require "texres.command.arguments"
local plain = require "texres.plain"
local report = require "texres.report"

return {
  summary = "Write a page about a run and what its network does on sets of images.",
  examples = {
    { "report run roll7/ roll8/ --out rolls.html", "one page for two new sets of images" },
    { "report run", "the course of the training and the network" },
  },
  describe = function(parser)
    arguments.model(parser)
    parser:argument("sets", "Sets to test it on; the first screen is about the last one."):args "*"
    parser:option("--out", "The page. By default sets.html beside the network."):argname "FILE"
    parser:option("--groups", "FILE.csv:COLUMN, or a column of the sets: which images belong together."):argname "WHAT"
    arguments.testing(parser)
    arguments.threads(parser)
  end,
  run = function(options)
    local classifier, path = arguments.open_model(options.model)
    if not classifier then return nil, path end
    local items = {}
    for i, name in ipairs(options.sets) do
      local set, message = arguments.open_set(classifier, { set = name, groups = options.groups, bad = options.bad })
      if not set then return nil, message end
      items[i] = { name = name, result = classifier:evaluate(set, arguments.testing_options(options)) }
    end
    local page = options.out or arguments.beside(path, "sets.html")
    local ok, message = report.tested(page, classifier, items, arguments.run_of(path))
    if not ok then return nil, message end
    print("report: " .. plain.visible_name(page))
  end,
}
