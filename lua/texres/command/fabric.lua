--- texres fabric: synthetic fabric images, for a first try (texres.data.fabric).

local arguments = require "texres.command.arguments"
local core = require "texres.core"
local data = require "texres.data"
local option = require "texres.options"
local plain = require "texres.plain"

local CLASSES, WEAVES = core.fabric_choices()

-- A range, or a number for one that is no wider.
local RANGE = {
  wanted = "one number or two",
  accept = function(list)
    local low, high = list[1], list[2] or list[1]
    return #list <= 2 and type(low) == "number" and type(high) == "number" and { low, high } or nil
  end,
}

local KNOWN = { -- as texres.data.fabric has them, which has the defaults
  count = option.COUNT, size = option.table(), sources = option.COUNT, seed = option.WHOLE, classes = option.LIST,
  weave = option.choice(nil, { "mixture", table.unpack(WEAVES) }), severity = RANGE, defect_size = RANGE, yarn = RANGE,
  masks = option.switch(false),
}

return {
  summary = "Make synthetic fabric images, for a first try.",
  examples = {
    { "fabric", "1200 images of six classes in fabric/: X.npy, Y.npy, index.csv, and sheet.png to look at" },
    { "fabric --out cloth --count 6000 --sources 1000 --weave twill --pictures", "as a folder of pictures for each "
      .. "class, too: cloth/pictures" },
  },
  describe = function(parser)
    parser:option("--out", "Folder for the files. By default fabric."):argname "DIR":default "fabric"
      :show_default(false)
    arguments.options(parser, KNOWN, {
      { "count", "Number of images. By default 1200.", "N" },
      { "size", "Their height and width in pixels. By default 64.", "N|HxW", arguments.size },
      { "sources", "Number of pieces of cloth that they show. By default one for 100 images, 8 at least.", "N" },
      { "seed", "Same seed, same bytes. By default 0.", "N" },
      { "classes", ("Of %s. By default all."):format(table.concat(CLASSES, ", ")), "A,B,...", arguments.list },
      { "weave", table.concat(WEAVES, ", ") .. ", or mixture. By default plain." },
      { "severity", "How marked a defect is: a range within 0..1. By default 0.4,1.", "A,B", arguments.list },
      { "defect_size", "Its diameter or length: a range in pixels. By default 28,56.", "A,B", arguments.list },
      { "yarn", "From yarn to yarn: a range in pixels. By default 23,28.", "A,B", arguments.list },
      { "masks", "Write where the defects are, too." },
    })
    parser:flag("--pictures", "Write every image as pictures/CLASS/NUMBER.png, too.")
  end,
  run = function(options)
    local set, out = data.fabric(arguments.given(options, KNOWN)), options.out
    local written, message = set:save_arrays(out)
    if written then written, message = set:contact_sheet(out .. "/sheet.png") end
    if written and options.pictures then written, message = set:save_folder(out .. "/pictures") end
    if not written then return nil, message end
    print(("%s in %s, some of them in sheet.png"):format(tostring(set), plain.visible_name(out)))
  end,
}
