--- texres threshold: the defect score from which on a piece is rejected, chosen on images and written into the file of
-- the network (result:operating_point, texres.set_operating_point).

local arguments = require "texres.command.arguments"
local checkpoint = require "texres.checkpoint"
local operating_point = require "texres.metrics.operating_point"
local option = require "texres.options"
local plain = require "texres.plain"

local WRONG = 2

local COSTS = option.kind("two costs, of a good piece that is rejected and of a defect that passes, such as 1,40",
  function(value)
    return option.is_list(value, function(cost) return type(cost) == "number" and cost >= 0 end) and #value == 2
  end)

return {
  summary = "Choose the operating point: from which defect score on a piece is rejected.",
  examples = {
    { "threshold run validation/ --false-reject 0.02", "at most 2 % of the good pieces are rejected" },
    { "threshold run validation/ --escape 0.01 --ask 0.05", "at most 1 % of the defects pass; a person is asked about "
      .. "5 %" },
    { "threshold run validation/ --cost 1,40 --prevalence 0.03", "what costs least, where 3 % of the pieces are "
      .. "defects and one that passes costs 40 times as much as a good one that is rejected" },
  },
  describe = function(parser)
    arguments.model(parser)
    arguments.set(parser)
    parser:mutex(
      parser:option("--false-reject", "Share of the good pieces that may be rejected."):argname "SHARE"
        :convert(arguments.rule(operating_point.KNOWN.false_reject, "--false-reject")),
      parser:option("--escape", "Share of the defects that may pass."):argname "SHARE"
        :convert(arguments.rule(operating_point.KNOWN.escape, "--escape")),
      parser:option("--cost", "What a good piece that is rejected and a defect that passes cost."):argname "A,B"
        :convert(arguments.list(COSTS, "--cost")))
    arguments.options(parser, operating_point.KNOWN, {
      { "prevalence", "With --cost: share of defects at the line. By default that of the images.", "SHARE" },
      { "ask", "Share of the images that a person may be asked about.", "SHARE" },
      { "good", "The class that means no defect.", "CLASS" },
      { "level", "Of the limits.", "SHARE" },
    })
    parser:flag("--dry-run", "Leave the file as it is."):target "dry_run"
    arguments.testing(parser)
    arguments.threads(parser)
  end,
  run = function(options)
    local rule = arguments.given(options, operating_point.KNOWN)
    if options.cost then rule.cost = { false_reject = options.cost[1], escape = options.cost[2] } end
    if not (rule.false_reject or rule.escape or rule.cost) then
      io.stderr:write "texres threshold: give what is to be kept to: --false-reject, --escape or --cost\n"
      return WRONG
    end
    local classifier, set, path = arguments.open_model_and_set(options)
    if not classifier then return nil, set end
    local point = classifier:evaluate(set, arguments.testing_options(options)):operating_point(rule)
    print(point)
    if options.dry_run then return end
    local ok, message = arguments.change(path, checkpoint.set_operating_point, point)
    if not ok then return nil, message end
    print("written into " .. plain.visible_name(path))
  end,
}
