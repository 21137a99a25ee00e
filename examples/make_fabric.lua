#!/usr/bin/env lua5.4
--- Writes a set of synthetic fabric images in the form of the real one: X.npy {N,H,W,1}, Y.npy {N}, labels from 0, and
-- index.csv, which says from which piece of cloth each image comes, and sheet.png, some of them to look at.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"

local parser = require "argparse" ("make_fabric.lua", "Writes synthetic fabric images as X.npy and Y.npy.")
parser:option("--out", "Folder for the files."):default "fabric"
parser:option("--count", "Number of images."):convert(math.tointeger):default "4000"
parser:option("--cloths", "Number of pieces of cloth that they show."):convert(math.tointeger):default "400"
parser:option("--size", "Height and width in pixels."):convert(math.tointeger):default "64"
parser:option("--seed", "Same seed, same bytes."):convert(math.tointeger):default "1"
local options = parser:parse()

local set = tr.data.fabric {
  count = options.count, size = options.size, seed = options.seed, sources = options.cloths,
}
assert(tr.process.make_folder(options.out))
assert(set:save_npy(options.out .. "/X.npy", options.out .. "/Y.npy"))
local index = assert(io.open(options.out .. "/index.csv", "w"))
index:write "index,source,angle\n"
for i = 1, #set do
  local row = set:row(i)
  index:write(("%d,%s,%s\n"):format(i - 1, row.source, row.angle))
end
index:close()
assert(set:contact_sheet(options.out .. "/sheet.png"))
print(("%d images of %d classes in %s/X.npy, some of them in sheet.png"):format(#set, #set.classes, options.out))
