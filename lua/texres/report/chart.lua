--- Charts as SVG that stands in a page: lines over a number, bars, a heat map. Values show where the pointer is, by
-- titles of invisible strips; no scripts.

local html = require "texres.report.html"
local plain = require "texres.plain"

local fill, each, finite = html.fill, html.each, html.finite

local chart = {}

local WIDTH, HEIGHT = 560, 260
local LEFT, RIGHT, TOP, BOTTOM = 58, 92, 12, 40

--- Round positions for about `count` grid lines between low and high.
local function ticks(low, high, count)
  local rough = (high - low) / count
  local power = 10.0 ^ math.floor(math.log(rough, 10))
  local step = power
  for _, factor in ipairs { 1, 2, 5, 10 } do
    step = factor * power
    if step >= rough then break end
  end
  local list, first = {}, math.ceil(low / step - 1e-9)
  for i = first, math.floor(high / step + 1e-9) do list[#list + 1] = i * step end
  return list
end

--- The points of one column of a list of records that are finite numbers, over another column.
function chart.points(records, x, y)
  local list = {}
  for _, row in ipairs(records) do
    if finite(row[x]) and finite(row[y]) then list[#list + 1] = { row[x], row[y] } end
  end
  return list
end

local function bounds(series, k, low, high)
  for _, line in ipairs(series) do
    for _, point in ipairs(line.points) do
      low, high = math.min(low or point[k], point[k]), math.max(high or point[k], point[k])
    end
  end
  low, high = low or 0, high or 1
  if high - low < 1e-12 then high = low + math.max(math.abs(low), 1e-6) end
  return low, high
end

--- Names at the ends of the lines, moved apart where they would overlap.
local function end_labels(series, place)
  local labels = {}
  for _, line in ipairs(series) do
    local last = line.points[#line.points]
    if last then
      local x, y = place(last)
      labels[#labels + 1] = { x = x + 8, y = y + 4, name = line.name, class = line.class }
    end
  end
  table.sort(labels, function(a, b) return a.y < b.y end)
  for i = 2, #labels do labels[i].y = math.max(labels[i].y, labels[i - 1].y + 14) end
  return each(labels, function(label)
    label.x, label.y = plain.format("%.1f", label.x), plain.format("%.1f", label.y)
    return fill('<text class="{class}" x="{x}" y="{y}">{name}</text>', label)
  end)
end

--- A frame with grid and numbers: parts, and the functions that place a value.
local function frame(spec, x_low, x_high, low, high)
  local function x_of(x) return LEFT + (x - x_low) / math.max(x_high - x_low, 1e-12) * (WIDTH - LEFT - RIGHT) end
  local function y_of(y) return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM) end
  local parts = {}
  local function add(text, values) parts[#parts + 1] = fill(text, values) end
  for _, value in ipairs(ticks(low, high, 5)) do
    add('<line class="grid" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
      .. '<text x="{x}" y="{below}" text-anchor="end">{text}</text>',
      { x1 = LEFT, x2 = WIDTH - RIGHT, x = LEFT - 8, y = plain.format("%.1f", y_of(value)),
        below = plain.format("%.1f", y_of(value) + 4),
        text = plain.format(spec.format or "%g", value * (spec.scale or 1)) })
  end
  for _, x in ipairs(ticks(x_low, x_high, math.min(spec.whole and x_high - x_low or 5, 8))) do
    if x <= x_high and (not spec.whole or x == math.floor(x)) then
      add('<text x="{x}" y="{y}" text-anchor="middle">{text}</text>',
        { x = plain.format("%.1f", x_of(x)), y = HEIGHT - BOTTOM + 18,
          text = plain.format(spec.x_format or "%g", x * (spec.x_scale or 1)) })
    end
  end
  add('<text x="{x}" y="{y}" text-anchor="end">{name}</text>',
    { x = WIDTH - RIGHT, y = HEIGHT - 5, name = spec.x_name or "epoch" })
  return parts, add, x_of, y_of
end

local function figure(spec, words, parts)
  return fill([[<figure class="card"><figcaption>{title}</figcaption>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title} over {x_name}: {words}">
{_parts}
</svg></figure>]], { title = spec.title, width = WIDTH, height = HEIGHT, words = words,
    x_name = spec.over or "the epochs", _parts = table.concat(parts, "\n") })
end

--- Strips over the chart, one for each x, that tell all values there.
local function strips(spec, series, x_of, add)
  local of_x, xs = {}, {}
  for _, line in ipairs(series) do
    for _, point in ipairs(line.points) do
      if not of_x[point[1]] then
        of_x[point[1]] = {}
        xs[#xs + 1] = point[1]
      end
      local values = of_x[point[1]] -- of several values of a line the last one
      if not values[line.name] then values[#values + 1] = line.name end
      values[line.name] = plain.format("%.4g", point[2])
    end
  end
  for _, values in pairs(of_x) do
    for i, name in ipairs(values) do values[i] = ("%s: %s"):format(name, values[name]) end
  end
  table.sort(xs)
  local every = math.max(1, #xs // 200)
  for i = 1, #xs, every do
    local left = i > 1 and 0.5 * (x_of(xs[i - every]) + x_of(xs[i])) or LEFT
    local right = xs[i + every] and 0.5 * (x_of(xs[i]) + x_of(xs[i + every])) or WIDTH - RIGHT
    add('<rect class="hover" x="{x}" y="{y}" width="{w}" height="{h}"><title>{name} {at}: {values}</title></rect>', {
      x = plain.format("%.1f", left), y = TOP, w = plain.format("%.1f", math.max(right - left, 0.5)),
      h = HEIGHT - TOP - BOTTOM, name = spec.x_name or "epoch",
      at = plain.format(spec.x_tip or spec.x_format or "%g", xs[i] * (spec.x_scale or 1)),
      values = table.concat(of_x[xs[i]], ", "),
    })
  end
end

--- Lines. `spec`: title; series of {name, class ("one" or "two"), points}; low, high, x_low, x_high where the axes are
-- fixed; format and scale of the numbers, x_format, x_tip (in titles) and x_scale; x_name, over (in words); whole: x
-- counts; best: where a mark stands; diagonal: a line from corner to corner. "" where there is no point.
function chart.lines(spec)
  local count = 0
  for _, line in ipairs(spec.series) do count = count + #line.points end
  if count == 0 then return "" end
  local low, high = bounds(spec.series, 2, spec.low, spec.high)
  local x_low, x_high = bounds(spec.series, 1, spec.x_low, spec.x_high)
  if spec.whole and x_high < x_low + 1 then x_low, x_high = x_low - 0.5, x_low + 0.5 end
  local parts, add, x_of, y_of = frame(spec, x_low, x_high, low, high)
  local function place(point) return x_of(point[1]), y_of(point[2]) end
  if spec.diagonal then
    add('<line class="chance" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>', { x1 = LEFT, x2 = WIDTH - RIGHT,
      y1 = HEIGHT - BOTTOM, y2 = TOP })
  end
  if spec.best then
    add('<line class="best" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"><title>{title}</title></line>',
      { x = plain.format("%.1f", x_of(spec.best)), y1 = TOP, y2 = HEIGHT - BOTTOM,
        title = ("best epoch: %d"):format(spec.best) })
  end
  local words = {}
  for _, line in ipairs(spec.series) do
    local path = {}
    for i, point in ipairs(line.points) do path[i] = plain.format("%.1f,%.1f", place(point)) end
    add('<polyline class="{class}" points="{path}"/>', { class = line.class, path = table.concat(path, " ") })
    for _, point in ipairs(#line.points <= 60 and line.points or {}) do
      local x, y = place(point)
      add('<circle class="{class}" cx="{x}" cy="{y}" r="3"/>',
        { class = line.class, x = plain.format("%.1f", x), y = plain.format("%.1f", y) })
    end
    local final = line.points[#line.points]
    if final then words[#words + 1] = plain.format("%s ends at %.4g", line.name, final[2]) end
  end
  parts[#parts + 1] = end_labels(spec.series, place)
  strips(spec, spec.series, x_of, add)
  return figure(spec, table.concat(words, ", "), parts)
end

--- Two histograms over 0..1, one above the other in colour: `spec`: title, series of {name, class, values}, bins, mark
-- (a threshold), x_name, over.
function chart.histogram(spec)
  local bins, most = spec.bins or 25, 0
  local counts, words = {}, {}
  for s, line in ipairs(spec.series) do
    counts[s] = {}
    for b = 1, bins do counts[s][b] = 0 end
    for _, value in ipairs(line.values) do
      local b = math.max(1, math.min(bins, 1 + math.floor(value * bins)))
      counts[s][b] = counts[s][b] + 1 / math.max(#line.values, 1)
    end
    for b = 1, bins do most = math.max(most, counts[s][b]) end
    words[s] = ("%d of %s"):format(#line.values, line.name)
  end
  if most == 0 then return "" end
  local parts, add, x_of, y_of = frame({ format = "%.0f %%", scale = 100, x_name = spec.x_name }, 0, 1, 0, most)
  for s, line in ipairs(spec.series) do
    for b, share in ipairs(counts[s]) do
      if share > 0 then
        add('<rect class="bar-{class}" x="{x}" y="{y}" width="{w}" height="{h}">'
          .. "<title>{name}, {low} to {high}: {share}</title></rect>", {
          class = line.class, x = plain.format("%.1f", x_of((b - 1) / bins) + (s - 1) * 3),
          y = plain.format("%.1f", y_of(share)), w = plain.format("%.1f", x_of(1 / bins) - x_of(0) - 4),
          h = plain.format("%.1f", HEIGHT - BOTTOM - y_of(share)), name = line.name,
          low = plain.format("%.2f", (b - 1) / bins), high = plain.format("%.2f", b / bins),
          share = html.percent(share),
        })
      end
    end
    add('<text class="{class}" x="{x}" y="{y}">{name}</text>', { class = line.class, x = WIDTH - RIGHT + 6,
      y = TOP + 14 * s, name = line.name })
  end
  if spec.mark and spec.mark <= 1 then
    add('<line class="mark" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"><title>threshold {at}</title></line>',
      { x = plain.format("%.1f", x_of(spec.mark)), y1 = TOP, y2 = HEIGHT - BOTTOM,
        at = plain.format("%.4g", spec.mark) })
  end
  return figure(spec, table.concat(words, ", "), parts)
end

--- A heat map: `spec`: title, rows (names), columns (names of some), values[row][column] (numbers or nil), low, high,
-- x_name, over. Values are shown on a scale from low to high.
function chart.heat(spec)
  local rows, columns = #spec.rows, 0
  for _, row in ipairs(spec.values) do columns = math.max(columns, #row) end
  if rows == 0 or columns == 0 then return "" end
  local cell, left = 16, 150
  local width, height = WIDTH, rows * cell + 22
  local step = (width - left - 10) / columns
  local parts = {}
  for r, name in ipairs(spec.rows) do
    parts[#parts + 1] = fill('<text x="{x}" y="{y}" text-anchor="end">{name}</text>',
      { x = left - 6, y = r * cell - 4, name = #name > 24 and "..." .. name:sub(-21) or name })
    for c = 1, columns do
      local value = spec.values[r][c]
      if finite(value) then
        local share = math.max(0, math.min(1, (value - spec.low) / math.max(spec.high - spec.low, 1e-12)))
        parts[#parts + 1] = fill('<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{colour}">'
          .. "<title>{name}, {at}: {value}</title></rect>", {
          x = plain.format("%.2f", left + (c - 1) * step), y = (r - 1) * cell, w = plain.format("%.2f", step + 0.3),
          h = cell - 1, colour = html.colour(share), name = name, at = spec.columns[c] or c,
          value = plain.format("%.3g", value),
        })
      end
    end
  end
  parts[#parts + 1] = fill('<text x="{x}" y="{y}" text-anchor="end">{name}</text>', { x = width - 10, y = height - 6,
    name = spec.x_name or "" })
  return fill([[<figure class="card"><figcaption>{title}</figcaption>
<svg class="heat" viewBox="0 0 {width} {height}" role="img" aria-label="{title}: {rows} rows over {over}">
{_parts}
</svg></figure>]], { title = spec.title, width = width, height = height, rows = rows, over = spec.over or "time",
    _parts = table.concat(parts, "\n") })
end

return chart
