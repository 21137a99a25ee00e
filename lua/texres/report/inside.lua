--- What a network has inside, as pictures: the filters of its first convolution, and what its stages make of one image.

local core = require "texres.core"
local gallery = require "texres.report.gallery"
local html = require "texres.report.html"
local module = require "texres.nn.module"
local protect = require "texres.protect"

local fill, each = html.fill, html.each

local inside = {}

local MOST, COLUMNS = 32, 8 -- maps in a grid, in a row

--- Maps {K,H,W} as one picture, each from its lowest value in black to its highest in white, enlarged to about `side`
-- screen pixels.
local function grid(maps, side)
  local count, h, w = math.min(MOST, maps:size(1)), maps:size(2), maps:size(3)
  local scale, columns = math.max(1, side // math.max(h, w)), math.min(COLUMNS, count)
  local rows = (count + columns - 1) // columns
  local page = core.full({ rows * (h * scale + 2), columns * (w * scale + 2) }, 0.5)
  for k = 1, count do
    local map = maps:select(1, k):to "f32"
    local low, high = map:min():item(), map:max():item()
    map = (map - low) * (1 / math.max(high - low, 1e-12))
    map = map:reshape(h, 1, w, 1):expand(h, scale, w, scale):reshape(h * scale, w * scale)
    local top, left = (k - 1) // columns * (h * scale + 2) + 1, (k - 1) % columns * (w * scale + 2) + 1
    page:slice(1, top + 1, top + h * scale):slice(2, left + 1, left + w * scale):copy_from(map)
  end
  return page
end

--- The first convolution's weights {R,S,C,K} as maps {K,R,S}, means over the input channels; nil where there is none.
local function first_filters(model)
  for name, p in model:named_parameters() do
    if p:dim() == 4 then return p:detach():mean(3):permute(3, 1, 2):contiguous(), name end
  end
end

--- Pictures of a model in evaluation mode: a list of { title =, uri = }; `image`: a batch of one, as it takes it.
function inside.pictures(model, image, folder)
  local list = {}
  local function add(title, maps, side)
    local uri = gallery.uri(grid(maps, side), folder)
    if uri then list[#list + 1] = { title = title, uri = uri } end
  end
  module.in_eval(model, core.no_grad, function()
    local filters, name = first_filters(model)
    if filters then add(("first filters (%s)"):format(name), filters, 48) end
    local names = {}
    for _, child in ipairs(model:children()) do names[#names + 1] = child[1] end
    local made = #names > 0 and protect.catch(model.features, model, image, names)
    for _, stage in ipairs(made and names or {}) do
      local maps = made[stage]
      if core.is_tensor(maps) and maps:dim() == 4 and maps:size(2) > 1 then
        add(("what %s makes of an image"):format(stage), maps:select(1, 1):permute(3, 1, 2):contiguous(), 64)
      end
    end
  end)
  return list
end

--- These pictures as HTML; "" where there are none.
function inside.html(pictures)
  return #(pictures or {}) == 0 and "" or '<div class="pair">' .. each(pictures, function(picture)
    return fill('<figure class="card"><figcaption>{title}</figcaption>'
      .. '<img class="maps" alt="{title}" src="{uri}"></figure>', picture)
  end) .. "</div>"
end

return inside
