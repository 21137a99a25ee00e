--- Arguments and options that several commands have, and what stands behind them.

local build = require "texres.models.build"
local core = require "texres.core"
local files = require "texres.files"
local option = require "texres.options"
local plain = require "texres.plain"
local train = require "texres.train"
local views = require "texres.views"

local arguments = {}

--- A rule of texres.options as a converter for argparse: the number or text that the option takes. `flag`: its name,
-- for messages.
function arguments.rule(wanted, flag)
  return function(text)
    local value = wanted.accept(plain.number(text))
    if value == nil then value = wanted.accept(text) end
    if value == nil then return nil, ("%s is %s, wanted %s"):format(flag, text, wanted.wanted) end
    return value
  end
end

--- Declares options that a function of the library takes: rows of { name, what it is, argname, convert }. They are
-- named and checked as there; `known` has their rules. convert(rule, flag), where it is given, makes their converter.
function arguments.options(parser, known, rows)
  for _, row in ipairs(rows) do
    local name, text, wanted = row[1], row[2], known[row[1]]
    local default = wanted.default
    if type(default) == "number" or type(default) == "string" then
      text = ("%s By default %s."):format(text, plain.text(default))
    end
    local flag = "--" .. name:gsub("_", "-")
    if type(default) == "boolean" then
      parser:flag(flag, text):target(name)
    else
      parser:option(flag, text):target(name):argname(row[3] or name:upper())
        :convert((row[4] or arguments.rule)(wanted, flag))
    end
  end
end

--- Says of options that were declared that at most one of them may be given.
function arguments.exclusive(parser, ...)
  local wanted, found = { ... }, {}
  for _, option_ in ipairs(parser._options) do
    for _, flag in ipairs(wanted) do
      if option_._name == flag then found[#found + 1] = option_ end
    end
  end
  parser:mutex(table.unpack(found))
end

--- What of the options of a command line are options of such a function.
function arguments.given(options, known)
  local given = {}
  for name in pairs(known) do given[name] = options[name] end
  return given
end

--- The same for a list of texts, or of numbers, with commas between them.
function arguments.list(wanted, flag)
  return function(text)
    local list = {}
    for part in text:gmatch "[^,]+" do list[#list + 1] = plain.number(part) or part end
    local value = wanted.accept(list)
    if value == nil then return nil, ("%s is %s, wanted %s"):format(flag, text, wanted.wanted) end
    return value
  end
end

--- HxWxC, or HxW for one channel: the shape of an image.
function arguments.shape(text)
  local h, w, c = text:match "^(%d+)x(%d+)x(%d+)$"
  if not h then h, w, c = text:match "^(%d+)x(%d+)()$" end
  h, w, c = math.tointeger(h), math.tointeger(w), type(c) == "string" and math.tointeger(c) or 1
  if not h or h * w * c == 0 then return nil, text .. " is no shape of images, such as 64x64x1" end
  return { h, w, c }
end

--- The same for the size that pictures are brought to: a side, or HxW.
function arguments.size(_, flag)
  return function(text)
    local h, w = text:match "^(%d+)x(%d+)$"
    h, w = math.tointeger(h or text), math.tointeger(w or text)
    if not h or not w or h * w == 0 then return nil, ("%s is %s, wanted a side or HxW"):format(flag, text) end
    return { h, w }
  end
end

--- Declares --threads.
function arguments.threads(parser)
  local accept = arguments.rule(option.COUNT, "--threads")
  parser:option("--threads", "Threads that compute; by default one for each core."):argname "N"
    :convert(function(text)
      local count, message = accept(text)
      if not count then return nil, message end
      local set, problem = pcall(core.set_num_threads, count) -- which knows how many are possible
      if set then return count end
      return nil, "--threads: " .. plain.text(problem):match "n is .*$"
    end)
end

--- The file of a run's folder, or the path as it is.
function arguments.checkpoint(path)
  local best = path .. "/best.safetensors"
  return files.exists(best) and best or path
end

-- -- trained networks and sets ---------------------------------------------------------------------------------------

--- Declares a trained network.
function arguments.model(parser)
  parser:argument("model", "The folder of a run, or the file of a network (.safetensors).")
end

--- A trained network as a classifier, and the path of its file; or nil and a message.
function arguments.open_model(model)
  local path = arguments.checkpoint(model)
  local classifier, message = require("texres.classifier").load(path)
  if not classifier then return nil, message end
  return classifier, path
end

--- Says that the file to be written is the network that is read, under whatever name: nil where it is not.
function arguments.overwrites(out, network)
  local path = arguments.checkpoint(network)
  if core.file_kind(out) ~= "file" or core.file_kind(path) ~= "file" then return nil end
  local own = files.hash(path)
  if not own or files.hash(out) ~= own then return nil end
  return ("%s: this is the network itself: name another file to write"):format(out)
end

local function folder_of(path) return path:match "^(.*/)[^/]*$" or "" end

--- The path of a file beside another one.
function arguments.beside(path, name) return folder_of(path) .. name end

--- The folder of the run that made a file; nil where it is none.
function arguments.run_of(path)
  local folder = folder_of(path)
  return files.exists(folder .. "run.json") and (folder == "" and "." or folder:sub(1, -2)) or nil
end

--- Calls write(path, value), which puts something into the file of a network, unless its run is under way, which would
-- write over it; what write returns, or nil and a message.
function arguments.change(path, write, value)
  local lock = arguments.beside(path, ".lock")
  local held, message
  if files.exists(lock) then
    held, message = core.process.lock(lock)
    if not held then return nil, message end
  end
  local _ <close> = held -- luacheck: ignore
  return write(path, value)
end

--- Declares a set of images that a command reads.
function arguments.set(parser)
  parser:argument("set", "A folder with one of pictures for each class, a table of paths (.csv), .npy, .npz or .h5.")
  parser:option("--groups", "FILE.csv:COLUMN, or a column of the set: which images belong together."):argname "WHAT"
  parser:option("--labels", "File or column of the labels, where they stand beside the images."):argname "WHAT"
end

--- The options of texres.data.open among those of a command line.
function arguments.set_options(options) return { groups = options.groups, labels = options.labels } end

--- The set that the options name, as a classifier takes it; or nil and a message.
function arguments.open_set(classifier, options)
  local given = arguments.set_options(options)
  given.bad = options.bad
  return classifier:open(options.set, given)
end

--- The trained network and the set that the options name: a classifier, the set, the path of the network's file; or nil
-- and a message.
function arguments.open_model_and_set(options)
  local classifier, path = arguments.open_model(options.model)
  if not classifier then return nil, path end
  local set, message = arguments.open_set(classifier, options)
  if not set then return nil, message end
  return classifier, set, path
end

--- Declares how a network is tested, and what of it classifier:evaluate is told.
function arguments.testing(parser)
  parser:option("--views", "1, 4 or 8: answers are the mean over the images turned and mirrored. By default as the "
    .. "operating point was chosen."):argname "N":convert(arguments.rule(views.COUNT, "--views"))
  parser:option("--batch", "Images at a time. By default 128."):argname "N"
    :convert(arguments.rule(option.COUNT, "--batch"))
  parser:option("--bad", "error, or skip: leave pictures out that can't be read. By default error.")
    :choices { "error", "skip" }
end

function arguments.testing_options(options)
  return { views = options.views, batch = options.batch, bad = options.bad }
end

-- -- networks that are trained anew -----------------------------------------------------------------------------------

-- A rule without its default, which is another one for each network.
local function bare(rule) return { wanted = rule.wanted, accept = rule.accept } end

local OF_NETWORK = {
  width = option.COUNT, head = bare(build.KNOWN.head), block = bare(build.KNOWN.block), depth = option.COUNT,
  widen = option.COUNT, small_input = option.switch(false), weights = option.PATH,
}

--- Declares a network with random weights, or those of torchvision.
function arguments.new_network(parser)
  parser:option("--network", ("One of texres.models: %s. By default textile."):format(
    table.concat(train.NETWORKS, ", ")))
    :argname "NAME":choices(train.NETWORKS)
  arguments.options(parser, OF_NETWORK, {
    { "width", "Channels of the first stage of textile. By default 16; 64 is as published, and takes ten times as "
      .. "long.", "N" },
    { "head", "How scores are made of the last maps: gap (mean), gmp (largest), mean_max, conv. By default mean_max "
      .. "for textile, gap for others." },
    { "depth", "Layers of cifar_resnet, cifar_preact, wide_resnet: 20, 56, ...", "N" },
    { "widen", "How much wider wide_resnet is.", "N" },
    { "block", "basic, bottleneck, preact or preact_bottleneck." },
    { "small_input", "No pooling at the front of resnet18 and its like: for images of 32 or 64 pixels." },
    { "weights", "Weights of torchvision to begin with, for resnet18 and its like.", "FILE" },
  })
end

--- The network that these options name, as texres.train takes it.
function arguments.describe_network(options)
  local network = { options.network or "textile" }
  for name in pairs(OF_NETWORK) do network[name] = options[name] end
  return network
end

-- -- networks of any kind ---------------------------------------------------------------------------------------------

--- Declares a network: one of a file or of texres.models.
function arguments.network(parser)
  parser:argument("network", "A run's folder, a .safetensors or .onnx file, or the name of one of texres.models.")
  parser:option("--input", "Shape of one image; by default the network's own, else 64x64x1."):argname "HxWxC"
    :convert(arguments.shape)
  parser:option("--classes", "Classes of a network of texres.models."):argname "N"
    :convert(arguments.rule(option.COUNT, "--classes"))
end

local function of_models(name, options)
  local make = train.maker(name)
  if not make and core.file_kind(name) == "folder" then
    return nil, name .. ": no folder of a run, no network is in it"
  end
  if not make then return nil, name .. ": there is no such file, and no such network among texres.models" end
  local shape = options.input or { 64, 64, 1 }
  return make { classes = options.classes, in_channels = shape[3] }, shape
end

--- The network that the options name, and the shape {1,H,W,C} of an image; or nil and a message.
function arguments.open_network(options)
  local path = arguments.checkpoint(options.network)
  local net, shape
  if not files.exists(path) then
    net, shape = of_models(path, options)
  elseif path:lower():find "%.onnx$" then
    local info
    net, info = require "texres.onnx".import(path)
    shape = net and info.input or info
  else
    local saved, problem = require "texres.checkpoint".load(path)
    net, shape = saved and saved.model, saved and saved.input or problem
  end
  if not net then return nil, shape end
  shape = options.input or shape
  if not shape then return nil, path .. ": it does not tell the size of its images: give --input" end
  return net:eval(), { 1, table.unpack(shape) }
end

-- -- pictures of the command line -------------------------------------------------------------------------------------

--- The next piece of a stream that ends in a zero byte, as `find -print0` writes them.
local function read_null(stream)
  local bytes = {}
  for byte in function() return stream:read(1) end do
    if byte == "\0" then return table.concat(bytes) end
    bytes[#bytes + 1] = byte
  end
  return bytes[1] and table.concat(bytes)
end

--- The next line of a stream, of a list that was written on Windows, too.
local function read_line(stream)
  local line = stream:read "l"
  return line and (line:gsub("\r$", ""))
end

--- A function that gives the paths of the command line, with those of standard input in the place of "-".
function arguments.each_path(options)
  local at, reading = 0, false
  return function()
    while true do
      if reading then
        local path = options.null and read_null(io.stdin) or not options.null and read_line(io.stdin) or nil
        if path and path ~= "" then return path end
        reading = path ~= nil
      else
        at = at + 1
        if options.files[at] ~= "-" then return options.files[at] end
        reading = true
      end
    end
  end
end

--- A name for a picture beside that of this name that no other has, for what is written of it: new/1 for new/1.png,
-- and new/1.jpg for new/1.jpg after that. `used`: the names that are taken.
function arguments.unused_name(name, used)
  local stem, count = name:match "^(.*)%.[^./]*$" or name, 2
  local own = stem ~= "" and not used[stem] and stem or name
  while used[own] do own, count = ("%s-%d"):format(name, count), count + 1 end
  used[own] = true
  return own
end

return arguments
