--- texres audit: what is wrong with a set of images, and what a split of it leaks (set:audit, set:leaks).

local arguments = require "texres.command.arguments"
local data = require "texres.data"
local option = require "texres.options"

return {
  summary = "What is wrong with a set of images, and what a split of it leaks.",
  examples = {
    { "audit pictures/ --groups index.csv:source", "equal and alike images, contradicting labels, classes that are "
      .. "rare; what a random split and one by photograph leak" },
    { "audit X.npy --sheet alike.png", "with a picture of the images that are equal or look alike" },
  },
  describe = function(parser)
    arguments.set(parser)
    parser:option("--test", "Share of the images that is held out. By default 0.3."):argname "SHARE"
      :convert(arguments.rule(option.number(nil, "(0, 1)"), "--test"))
    parser:option("--seed", "Of the splits. By default 1."):argname "N"
      :convert(arguments.rule(option.INDEX, "--seed"))
    parser:option("--sheet", "PNG for the images that are equal or look alike."):argname "FILE"
    arguments.threads(parser)
  end,
  run = function(options)
    local set, message = data.open(options.set, arguments.set_options(options))
    if not set then return nil, message end
    print(set:describe())
    print()
    local leaks
    leaks, message = set:leaks { test = options.test, seed = options.seed }
    if not leaks then return nil, message end
    print(leaks)
    if not options.sheet then return end
    local audit = leaks[1].audit
    if #audit.equal + #audit.alike == 0 then
      print "no images are equal or look alike, so there is no sheet of them"
      return
    end
    local written, problem = audit:contact_sheet(options.sheet)
    if not written then return nil, problem end
    print("images that are equal or look alike: " .. options.sheet)
  end,
}
