--- texres find-lr: which learning rate a training should have (texres.find_lr).

local arguments = require "texres.command.arguments"
local probe = require "texres.trainer.probe"
local train = require "texres.train"

return {
  summary = "Look for the learning rate that a training should have.",
  examples = {
    { "find-lr pictures/", "for texres train pictures/, whose --lr is the highest of a one_cycle" },
    { "find-lr train64.h5 --network resnet18 --small-input --batch 32 --steps 200", "of another one" },
  },
  describe = function(parser)
    parser:argument("set", "A folder with one of pictures for each class, a table of paths (.csv), .npy, .npz or .h5.")
    arguments.new_network(parser)
    arguments.options(parser, train.KNOWN, {
      { "labels", "File or column of the labels, where they stand beside the images.", "WHAT" },
      { "classes", "Names of the classes, in order.", "A,B,...", arguments.list },
      { "size", "Size that pictures are brought to; without it all must have one.", "N|HxW", arguments.size },
      { "channels", "1 makes pictures gray, 3 RGB.", "N" },
      { "bad", "error, or skip: leave pictures out that can't be read." },
      { "batch", "Images in a step.", "N" },
      { "weight_decay", "Of AdamW.", "X" },
      { "seed", "Of the weights and the batches.", "N" },
      { "balanced", "Show every class equally often." },
    })
    arguments.options(parser, probe.FIND, {
      { "low", "The rate of the first step.", "X" },
      { "high", "The rate of the last step.", "X" },
      { "steps", "Steps from the one to the other; the loss ends it early where it explodes.", "N" },
    })
    arguments.threads(parser)
  end,
  run = function(options)
    local given = arguments.given(options, train.KNOWN)
    given.network = arguments.describe_network(options)
    local found, message = train.find_lr(given, arguments.given(options, probe.FIND))
    if not found then return nil, message end
    print(found)
    return not found.suggestion and 1 or nil
  end,
}
