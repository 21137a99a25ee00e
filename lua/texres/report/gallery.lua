--- Pictures in a report: images as PNG inside the page, with what was said of them.

local core = require "texres.core"
local files = require "texres.files"
local html = require "texres.report.html"
local input = require "texres.input"
local plain = require "texres.plain"

local fill, each, spaced = html.fill, html.each, html.spaced

local gallery = {}

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Bytes as base64 (RFC 4648).
function gallery.base64(bytes)
  local out = {}
  for at = 1, #bytes, 3 do
    local a, b, c = bytes:byte(at, at + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for k = 3, 0, -1 do
      local digit = bits >> 6 * k & 63
      out[#out + 1] = DIGITS:sub(digit + 1, digit + 1)
    end
    if not c then out[#out] = "=" end
    if not b then out[#out - 1] = "=" end
  end
  return table.concat(out)
end

--- A float image whose lowest pixel is black and whose highest is white.
local function stretched(image)
  local low, high = image:min():item(), image:max():item()
  return (image - low) * (1 / math.max(high - low, 1e-12))
end

--- An image as a data URI, by way of a file in `folder`; or nil and a message. `white`: what white is in floats (1); it
-- is false where they have no such range (texres.input).
function gallery.uri(image, folder, white)
  if image.dtype ~= "u8" then
    if white == false then image = stretched(image) end
    if white and white ~= 1 then image = image * (1 / white) end
  end
  local path = folder .. "/.image.png"
  local written, message = core.write_png(path, image)
  if not written then return nil, message end
  local bytes
  bytes, message = files.read(path)
  os.remove(path)
  return bytes and "data:image/png;base64," .. gallery.base64(bytes), message
end

--- A few images of each class, spread evenly over the set, as rows { class =, images = { uri, ... } }; images that
-- can't be read are left out.
function gallery.samples(set, folder, count)
  local rows, white = {}, input.white_of_set(set)
  for c, name in ipairs(set.classes) do rows[c] = { class = name, images = {} } end
  local counts, seen = set:counts(), {}
  for i, label in ipairs(set.label) do
    local row = rows[label].images
    local every = math.max(1, counts[label] // count)
    seen[label] = (seen[label] or -1) + 1
    if #row < count and seen[label] % every == 0 then
      local image = set:get(i)
      row[#row + 1] = image and gallery.uri(image, folder, white)
    end
  end
  return rows
end

--- Places of the images of a result that say most: { passed = defects that were taken for good, surest first;
-- rejected = good ones taken for defects, surest first; mistaken = others of a class that were taken for another one;
-- doubtful = right, but barely }.
function gallery.telling(result, decisions, scores, good, count)
  local lists = { passed = {}, rejected = {}, mistaken = {}, doubtful = {} }
  local predicted, labels = result:predictions(), result.labels:totable()
  local rows = result.scores:totable()
  for i, label in ipairs(labels) do
    local p = predicted[i] and rows[i][predicted[i]] or 0
    if decisions and label ~= good and decisions[i] == "accept" then
      table.insert(lists.passed, { i = i, weight = 1 - scores[i] })
    elseif decisions and label == good and decisions[i] == "reject" then
      table.insert(lists.rejected, { i = i, weight = scores[i] })
    elseif predicted[i] ~= label then
      table.insert(lists.mistaken, { i = i, weight = p })
    else
      table.insert(lists.doubtful, { i = i, weight = -p })
    end
  end
  for name, list in pairs(lists) do
    table.sort(list, function(a, b)
      if a.weight ~= b.weight then return a.weight > b.weight end
      return a.i < b.i
    end)
    local places = {}
    for k = 1, math.min(count, #list) do places[k] = list[k].i end
    lists[name] = places
    lists[name].of = #list
  end
  return lists
end

--- Those images with what was said of them: lists of { uris = { image[, overlay] }, truth, predicted, p, place }.
-- `why` may have heat(image, label), which gives a second picture of one, and nearest(image), the training image that
-- is most alike; `scores` are the defect scores of all images, where these decided.
function gallery.pictures(result, set, places, folder, why, scores)
  local list, white = { of = places.of }, input.white_of_set(set)
  local predicted, labels, rows = result:predictions(), result.labels:totable(), result.scores:totable()
  for _, i in ipairs(places) do
    local image = set:get(i)
    local uri = image and gallery.uri(image, folder, white)
    if uri then
      local second = why and why.heat(image, predicted[i] or labels[i])
      list[#list + 1] = {
        uris = { uri, second and gallery.uri(second, folder) }, truth = result.classes[labels[i]],
        predicted = predicted[i] and result.classes[predicted[i]] or "nothing",
        p = predicted[i] and rows[i][predicted[i]], place = i, group = result.groups and result.groups[i],
        nearest = why and why.nearest(image), score = scores and scores[i],
      }
    end
  end
  return list
end

local function picture(item)
  return fill('<li>{_images}<b>{_truth}</b>{_predicted}{p}{score}<br>image {place}{_group}{_nearest}</li>', {
    _images = #item.uris > 1
      and fill('<span class="two"><img alt="{alt}" src="{a}"><img alt="{heat}" src="{b}"></span>',
        { a = item.uris[1], b = item.uris[2], alt = "image " .. item.place, heat = "what the network looked at" })
      or fill('<img alt="{alt}" src="{a}">', { a = item.uris[1], alt = "image " .. item.place }),
    _truth = html.name(item.truth), place = item.place,
    _predicted = item.predicted ~= item.truth and " taken for " .. html.name(item.predicted) or "",
    score = html.finite(item.score) and plain.format("; defect score %.2f", item.score) or "",
    p = item.p and plain.format(", %.0f %%", 100 * item.p) or "",
    _nearest = item.nearest and ("; most like training image %d, %s"):format(item.nearest.index,
      html.name(item.nearest.class)) or "",
    _group = item.group ~= nil and fill(" of <bdi>{group}</bdi>", { group = item.group }) or "",
  })
end

local KINDS = {
  { "passed", "Defects that pass, the surest first" },
  { "rejected", "Good pieces that are rejected, the surest first" },
  { "mistaken", "Taken for another class" }, { "doubtful", "Right, but barely" },
}

--- The pictures of a result, a gallery for each kind; "" where there are none.
function gallery.html(pictures)
  return each(KINDS, function(kind)
    local list = pictures and pictures[kind[1]]
    if not list or #list == 0 then return "" end
    return fill('<h3>{title} <small>({shown} of {of})</small></h3><ul class="gallery">{_items}</ul>',
      { title = kind[2], shown = #list, of = list.of, _items = each(list, picture) })
  end)
end

--- Samples as rows; "" where there are none.
function gallery.samples_html(rows)
  return each(rows or {}, function(row)
    if #row.images == 0 then return "" end
    return fill('<h3>{name}</h3><ul class="gallery">{_items}</ul>', { name = spaced(row.class),
      _items = each(row.images, function(uri) return fill('<li><img alt="{alt}" src="{uri}"></li>',
        { alt = row.class, uri = uri }) end) })
  end)
end

return gallery
