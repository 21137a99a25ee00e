--- What kind of file a name says it is: the one table of formats. A new one is a row here and its reader: a codec in
-- csrc/data/codec.h for pictures, a row in texres.data.open for sets.

local formats = {}

local KINDS = {
  npy = "npy", npz = "npz", hdf5 = "h5 hdf5", csv = "csv",
  picture = "png jpg jpeg bmp tga pgm ppm",
  foreign = "tif tiff webp gif heic heif avif jp2 jxl exr psd svg dng raw", -- pictures that only other programs read
}

local kind_of = {}
for kind, suffixes in pairs(KINDS) do
  for suffix in suffixes:gmatch "%S+" do kind_of[suffix] = kind end
end

--- "data/X.npy" -> "data/", "X", "npy"; the suffix in lower case, "" where there is none.
function formats.parts(path)
  local folder, name = path:match "^(.*/)([^/]*)$"
  if not folder then folder, name = "", path end
  local stem, suffix = name:match "^(.*)%.([^.]+)$"
  return folder, stem or name, (suffix or ""):lower()
end

function formats.suffix(path) return (select(3, formats.parts(path))) end

--- "npy", "npz", "hdf5", "csv", "picture", "foreign"; nil for any other name.
function formats.kind(path) return kind_of[formats.suffix(path)] end

--- The suffixes of a kind, as a list.
function formats.suffixes(kind)
  local list = {}
  for suffix in KINDS[kind]:gmatch "%S+" do list[#list + 1] = suffix end
  return list
end

return formats
