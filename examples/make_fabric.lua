#!/usr/bin/env lua5.4
--- Writes a set of synthetic fabric images in the form of the real one: X.npy {N,H,W,1}, Y.npy {N}, labels from 0,
-- index.csv, which says what is known of each image, such as its piece of cloth, and sheet.png, some of them to see.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("make_fabric.lua", "Writes synthetic fabric images as X.npy and Y.npy.")
parser:option("--out", "Folder for the files."):default "fabric"
parser:option("--count", "Number of images."):convert(math.tointeger):default "4000"
parser:option("--cloths", "Number of pieces of cloth that they show."):convert(math.tointeger):default "400"
parser:option("--weave", "plain, twill, satin, knit, or mixture."):default "plain"
parser:option("--size", "Height and width in pixels."):convert(math.tointeger):default "64"
parser:option("--seed", "Same seed, same bytes."):convert(math.tointeger):default "1"
parser:flag("--pictures", "Write every image as pictures/CLASS/NUMBER.png, too.")
local options = parser:parse()

local set = tr.data.fabric {
  count = options.count, size = options.size, seed = options.seed, sources = options.cloths,
  weave = options.weave,
}
assert(tr.make_folder(options.out))
assert(set:save_npy(options.out .. "/X.npy", options.out .. "/Y.npy"))
assert(set:save_csv(options.out .. "/index.csv"))
if options.pictures then assert(set:save_folder(options.out .. "/pictures")) end
assert(set:contact_sheet(options.out .. "/sheet.png"))
print(("%d images of %d classes in %s/X.npy, some of them in sheet.png"):format(#set, #set.classes, options.out))
