--- texres train: a network for a set of images, how good it is, and a report (texres.train).

local arguments = require "texres.command.arguments"
local distributed = require "texres.distributed"
local option = require "texres.options"
local train = require "texres.train"

local INTERRUPTED = 130

return {
  summary = "Train a network on images, test it and write a report.",
  examples = {
    { "train pictures/ --groups index.csv:source --out run", "a folder of pictures for each class; whole photographs "
      .. "are held out" },
    { "train X.npy --labels Y.npy --epochs 30 --width 32 --false-reject 0.02", "arrays; at most 2 % of the good "
      .. "pieces are to be rejected" },
    { "train train64.h5 --test test64.h5 --network resnet18 --small-input", "another network, tested on a set of its "
      .. "own" },
    { "train pictures/ --groups index.csv:source --out run --resume", "go on where Ctrl-C stopped it" },
  },
  describe = function(parser)
    parser:argument("set", "A folder with one of pictures for each class, a table of paths (.csv), .npy, .npz or .h5.")
    parser:option("--out --dir", "Folder for the network and the reports. By default run."):target "dir":argname "DIR"
      :convert(arguments.rule(option.PATH, "--out"))
    arguments.new_network(parser)
    arguments.options(parser, train.KNOWN, {
      { "groups", "FILE.csv:COLUMN, or a column of the set: what must not stand on both sides of the split.", "WHAT" },
      { "test", "A set of its own to test on, as SET.", "SET" },
      { "split", "Parts for training, validation and test. By default 0.7,0.15,0.15.", "A,B,C",
        arguments.list },
      { "folds", "Cross-validate over so many folds. By default 4 where there are few groups.", "N" },
      { "seeds", "How many seeds the cross-validation takes.", "N" },
      { "labels", "File or column of the labels, where they stand beside the images.", "WHAT" },
      { "classes", "Names of the classes, in order.", "A,B,...", arguments.list },
      { "size", "Size that pictures are brought to; without it all must have one.", "N|HxW", arguments.size },
      { "channels", "1 makes pictures gray, 3 RGB.", "N" },
      { "bad", "error, or skip: leave pictures out that can't be read." },
      { "epochs", "Passes over the images.", "N" },
      { "batch", "Images in a step.", "N" },
      { "lr", "Highest learning rate.", "X" },
      { "weight_decay", "Of AdamW.", "X" },
      { "seed", "Of the split, the weights and the batches.", "N" },
      { "patience", "Stop after so many epochs without a better one.", "N" },
      { "balanced", "Show every class equally often." },
      { "good", "The class that means no defect.", "CLASS" },
      { "false_reject", "Operating point: share of the good pieces that may be rejected.", "SHARE" },
      { "escape", "In its place: share of the defects that may pass.", "SHARE" },
      { "novelty", "Tell images that are unlike all of the training: share of the validation images that may be taken "
        .. "for such.", "SHARE" },
      { "resume", "Go on with what is in DIR, with the same options." },
    })
    arguments.threads(parser)
    arguments.exclusive(parser, "--folds", "--split")
    arguments.exclusive(parser, "--false-reject", "--escape")
  end,
  run = function(options)
    local given = arguments.given(options, train.KNOWN)
    local tells = distributed._tells()
    given.network, given.tell = arguments.describe_network(options), tells and print or function() end
    local done, message = train.run(given)
    if not done then return nil, message end
    if done.interrupted then
      if tells then io.stderr:write "texres train: interrupted; the same command with --resume goes on\n" end
      return INTERRUPTED
    end
    if not tells then return end
    print()
    done:show()
  end,
}
