--- texres novelty: what a network is to take for unlike all that it was trained on, fitted on images and written into
-- its file (classifier:fit_novelty, texres.set_novelty).

local arguments = require "texres.command.arguments"
local checkpoint = require "texres.checkpoint"
local novelty = require "texres.novelty"
local option = require "texres.options"
local plain = require "texres.plain"

return {
  summary = "Have a network tell images that are unlike all that it was trained on.",
  examples = {
    { "novelty run training/ --calibrate validation/", "1 % of the validation images may be taken for unknown" },
    { "novelty run training/ --calibrate other-rolls/ --false-alarms 0.002", "fewer false alarms, chosen on rolls that "
      .. "the network has not seen" },
  },
  describe = function(parser)
    arguments.model(parser)
    arguments.set(parser)
    parser:option("--calibrate", "Images of known classes that the network was not trained on, on which the threshold "
      .. "is chosen, as SET."):argname "SET":count(1):convert(arguments.rule(option.PATH, "--calibrate"))
    arguments.options(parser, novelty.KNOWN, {
      { "false_alarms", "Share of these images that may be taken for unknown.", "SHARE" },
      { "batch", "Images at a time.", "N" },
      { "bad", "error, or skip: leave pictures out that can't be read." },
    })
    parser:flag("--dry-run", "Leave the file as it is."):target "dry_run"
    arguments.threads(parser)
  end,
  run = function(options)
    local classifier, set, path = arguments.open_model_and_set(options)
    if not classifier then return nil, set end
    local known, message = classifier:open(options.calibrate, { bad = options.bad })
    if not known then return nil, message end
    local found = classifier:fit_novelty(set, {
      calibrate = known, false_alarms = options.false_alarms, batch = options.batch, bad = options.bad,
    })
    print(found)
    if options.dry_run then return end
    local ok
    ok, message = arguments.change(path, checkpoint.set_novelty, found)
    if not ok then return nil, message end
    print("written into " .. plain.visible_name(path))
  end,
}
