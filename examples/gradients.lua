#!/usr/bin/env lua5.4
--- The gradient lab: what reaches the first layer of deep networks, with skip connections and without, and how they
-- learn.
--
--     lua5.4 examples/gradients.lua                          # three minutes on two cores
--     lua5.4 examples/gradients.lua --depths 8,32 --train 32 --seeds 5
--
-- Three ways to begin, which are told apart too seldom, and what it finds with its defaults, from depth 8 to 110:
--
--     small weights, no norm    Half of He's deviation. Plain gradients fade by the same factor for each layer, to
--                               1e-20 at depth 56, and in all blocks alike: in front the gradient has faded on its way
--                               back, behind the image on its way there; at depth 110 an f32 holds it no more. The
--                               plain network learns nothing. The first gradient of residual networks stays between
--                               0.07 and 1.5.
--     He weights, no norm       Plain gradients fade by four powers of ten, most of it for the zeros around small
--                               images (of 64 pixels: 1.4 powers), and yet the plain network of depth 56 learns
--                               nothing. The residual sum explodes: a gradient of 4e7 at depth 110. With the last
--                               convolution of each block at zero every block begins as the identity, and 0.1 arrives
--                               at any depth.
--     batch norm                Plain gradients explode: 1.8e6 at depth 110 against 7, and the training accuracy at
--                               depth 56 is 0.30 against 0.81. More epochs do not mend that: see examples/depth.lua.
--
-- The table has the gradient of the first convolution (median over the seeds) at the beginning, and by which paths it
-- came there in the residual network: by skips alone, by bodies alone, and mixed, as shares of its square that sum to 1
-- (means over the seeds; a share below 0 works against the rest). With small weights the skips alone carry a shallow
-- network's gradient; in deep ones, and with batch norm at any depth, nearly all of it comes by mixed paths. A path is
-- cut in backward only, by grad_skip = false or grad_body = false of the nn.Residual.

dofile((arg[0]:match "^.*/" or "") .. "checkout.lua")
local tr = require "texres"
local chart = require "texres.report.chart"
local plain = require "texres.plain"
local nn = tr.nn
local F = nn.functional

local function depths(text)
  local list = {}
  for word in text:gmatch "[^,]+" do
    local depth = math.tointeger(word)
    if not depth or depth < 8 or depth % 6 ~= 2 or depth <= (list[#list] or 0) then
      return nil, "depths are 6n+2, in rising order, such as 8,20,56"
    end
    list[#list + 1] = depth
  end
  return list[1] and list or nil, "there is no depth"
end

local function count(text)
  local value = math.tointeger(text)
  return value and value >= 1 and value or nil, "it is a number from 1 on"
end

local parser = require "argparse" ("gradients.lua", "Shows gradients by depth, and how deep networks learn.")
parser:option("--depths", "6n+2 layers."):convert(depths):default "8,20,56,110"
parser:option("--train", "The depth that is trained."):convert(function(text)
  local list, message = depths(text)
  return list and #list == 1 and list[1] or nil, list and "a single depth is trained" or message
end):default "56"
parser:option("--seeds", "Beginnings of each network."):convert(count):default "3"
parser:option("--width", "Channels of the first stage."):convert(math.tointeger):default "8"
parser:option("--size", "Pixels of an image's side."):convert(math.tointeger):default "16"
parser:option("--count", "Images to train on."):convert(math.tointeger):default "480"
parser:option("--epochs", "Of the training."):convert(count):default "6"
parser:option("--lr", "Highest learning rate of AdamW."):convert(tonumber):default "3e-3"
parser:option("--out", "The page."):default "gradients.html"
local options = parser:parse()

-- The nets of each regime: { name, residual or not, what is done to each block in the beginning }.
local function halve(block)
  for _, conv in ipairs { block.conv1, block.conv2 } do
    tr.no_grad(function() conv.weight:copy_from(0.5 * conv.weight) end)
  end
end
local function silence(block) nn.init.zeros(block.conv2.weight) end
local function keep() end

local REGIMES = {
  { name = "small weights, no norm", norm = "none", { "plain", false, halve }, { "residual", true, halve } },
  { name = "He weights, no norm", norm = "none", { "plain", false, keep }, { "residual", true, keep },
    { "zero-init", true, silence } },
  { name = "batch norm", norm = "batch", { "plain", false, keep }, { "residual", true, keep } },
}
local CLASSES = { "two", "one", "three" }

local set = tr.data.fabric { count = options.count, size = options.size, sources = options.count // 10, seed = 1 }
local images, labels = set:loader({ batch = math.min(64, #set), mean = 0.5, std = 0.2 }):batches(1)()

-- -- gradients --------------------------------------------------------------------------------------------------------

local function build(regime, kind, depth, seed)
  tr.manual_seed(seed)
  local n, width, blocks = (depth - 2) // 6, options.width, {}
  local net = tr.models.build {
    stages = { { blocks = n, width = width }, { blocks = n, width = 2 * width }, { blocks = n, width = 4 * width } },
    residual = kind[2], norm = regime.norm, shortcut = "identity_pad", in_channels = 1, classes = #set.classes,
  }
  for s = 1, 3 do
    for _, block in net["stage" .. s]:items() do
      kind[3](block)
      blocks[#blocks + 1] = block
    end
  end
  return net, blocks
end

local function backward(net)
  net:zero_grad()
  F.cross_entropy(net(images), labels):backward()
end

-- The gradient of the first convolution, with some paths cut.
local function first_gradient(net, blocks, skip, body)
  for _, block in ipairs(blocks) do block.grad_skip, block.grad_body = skip, body end
  backward(net)
  return net.conv1.weight.grad:clone()
end

-- The shares of <g, g> that came by skips alone, by bodies alone, by mixed paths.
local function shares(net, blocks)
  local whole = first_gradient(net, blocks, true, true)
  local square = (whole * whole):sum():item()
  local skip = (first_gradient(net, blocks, true, false) * whole):sum():item() / square
  local body = (first_gradient(net, blocks, false, true) * whole):sum():item() / square
  return { skip, body, 1 - skip - body }
end

local function median(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  return (sorted[(#sorted + 1) // 2] + sorted[#sorted // 2 + 1]) / 2, sorted[1], sorted[#sorted]
end

local function mean(values)
  local sum = 0
  for _, value in ipairs(values) do sum = sum + value end
  return sum / #values
end

-- Over the seeds: gradient norm of the first convolution, of the first convolution of each block, and the shares.
local function measure(regime, kind, depth)
  local first, by_block, paths = {}, {}, { {}, {}, {} }
  for seed = 1, options.seeds do
    local net, blocks = build(regime, kind, depth, seed)
    backward(net)
    first[seed] = net.conv1.weight.grad:norm():item()
    for b, block in ipairs(blocks) do
      by_block[b] = by_block[b] or {}
      by_block[b][seed] = block.conv1.weight.grad:norm():item()
    end
    if kind[2] then
      for p, share in ipairs(shares(net, blocks)) do paths[p][seed] = share end
    end
  end
  return { first = first, by_block = by_block, paths = kind[2] and paths }
end

-- -- training ---------------------------------------------------------------------------------------------------------

local function learn(regime, kind, depth)
  local accuracies = {}
  for seed = 1, options.seeds do
    local trainer = tr.Trainer { model = build(regime, kind, depth, seed), epochs = options.epochs, batch = 32,
      optimizer = { "adamw", lr = options.lr }, schedule = { "one_cycle" }, seed = seed, keep = "last", watch = false,
      quiet = true }
    trainer:fit(set)
    if trainer.interrupted then os.exit(130, true) end
    for epoch, entry in ipairs(trainer.history) do
      accuracies[epoch] = accuracies[epoch] or {}
      accuracies[epoch][seed] = entry.accuracy
    end
  end
  return accuracies
end

-- -- table and page ---------------------------------------------------------------------------------------------------

-- A line of a chart through the medians, with the range of the seeds.
local function line(name, class, of_x, values_of)
  local series = { name = name, class = class, points = {}, band = {} }
  for i, x in ipairs(of_x) do
    local middle, low, high = median(values_of(i))
    series.points[i], series.band[i] = { x, middle }, { x, low, high }
  end
  return series
end

local function counted(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local trained = options.train
local body, text = {}, {}
local function say(...)
  local row = (...):format(select(2, ...))
  print(row)
  text[#text + 1] = row
end

say("gradient of the first convolution, median of %d seeds", options.seeds)
for _, regime in ipairs(REGIMES) do
  local by_depth, by_block, curves = {}, {}, {}
  say("\n%s\n%10s %6s %9s %9s to %7s   %s", regime.name, "", "depth", "gradient", "lowest", "highest",
    "by skips  by bodies  mixed")
  for k, kind in ipairs(regime) do
    local found = {}
    for d, depth in ipairs(options.depths) do
      local m = measure(regime, kind, depth)
      found[d] = m
      local middle, low, high = median(m.first)
      local paths = m.paths and plain.rounded("%8.2f", mean(m.paths[1])) .. plain.rounded("%11.2f", mean(m.paths[2]))
        .. plain.rounded("%7.2f", mean(m.paths[3])) or ""
      say("%10s %6d %9.1e %9.1e to %7.1e   %s", kind[1], depth, middle, low, high, paths)
    end
    by_depth[k] = line(kind[1], CLASSES[k], options.depths, function(d) return found[d].first end)
    local blocks = measure(regime, kind, trained).by_block
    by_block[k] = line(kind[1], CLASSES[k], counted(#blocks), function(b) return blocks[b] end)
    local accuracies = learn(regime, kind, trained)
    curves[k] = line(kind[1], CLASSES[k], counted(options.epochs), function(e) return accuracies[e] end)
    local middle, low, high = median(accuracies[options.epochs])
    say("%10s %6d trained for %d epochs: training accuracy %.2f (%.2f to %.2f)", kind[1], trained, options.epochs,
      middle, low, high)
  end
  body[#body + 1] = ('<h2>%s</h2><div class="pair">%s%s%s</div>'):format(regime.name,
    chart.lines { title = "Gradient of the first convolution by depth", series = by_depth, log = true,
      x_ticks = options.depths, x_name = "depth", over = "the depth" },
    chart.lines { title = ("Gradient of each block at depth %d"):format(trained), series = by_block, log = true,
      whole = true, x_name = "block", over = "the blocks" },
    chart.lines { title = ("Training accuracy at depth %d"):format(trained), series = curves, scale = 100,
      format = "%g %%", whole = true })
end
table.insert(body, 1, ('<p class="sub">Norms of gradients at the beginning, and what was learned afterwards. Lines: '
  .. "medians of %d seeds; areas: from the lowest to the highest. What is too small for an f32 is missing there, and 0 "
  .. "in the table. By skips, by bodies, mixed: the share of the first gradient's square that came by skips alone, by "
  .. "bodies alone, by both in turn; one below 0 works against the rest.</p>"):format(options.seeds))
body[#body + 1] = '<h2>Numbers</h2><div class="card"><pre>' .. table.concat(text, "\n") .. "</pre></div>"
assert(tr.report.page(options.out, "The gradient lab", table.concat(body, "\n")))
print("\npage: " .. options.out)
