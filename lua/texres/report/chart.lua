--- Charts as SVG that stands in a page or by itself: lines over a number, bars, values with limits, a heat map. Values
-- show where the pointer is, by titles of invisible strips; no scripts.

local files = require "texres.files"
local html = require "texres.report.html"
local plain = require "texres.plain"
local style = require "texres.report.style"

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

--- A name of at most so many characters: of a longer one the end.
local function fitted(name, most)
  local length = utf8.len(name)
  if (length or #name) <= most then return name end
  return "..." .. name:sub(length and utf8.offset(name, 3 - most) or 3 - most)
end

--- Names at the ends of the lines, moved apart where they would overlap.
local function end_labels(series, place)
  local labels = {}
  for _, line in ipairs(series) do
    local last = line.points[#line.points]
    if last then
      local x, y = place(last)
      labels[#labels + 1] = { x = x + 8, y = y + 4, name = fitted(line.name, 14), class = line.class }
    end
  end
  table.sort(labels, function(a, b) return a.y < b.y end)
  for i = 2, #labels do labels[i].y = math.max(labels[i].y, labels[i - 1].y + 14) end
  return each(labels, function(label)
    label.x, label.y = plain.format("%.1f", label.x), plain.format("%.1f", label.y)
    return fill('<text class="{class}" x="{x}" y="{y}">{name}</text>', label)
  end)
end

--- Where the grid lines of the values stand: { value, text }; of a logarithmic axis at powers of ten.
local function value_ticks(spec, low, high)
  local list = {}
  if spec.log then
    local first, last = math.ceil(math.log(low, 10)), math.floor(math.log(high, 10))
    for power = first, last, math.max(1, (last - first + 5) // 6) do
      list[#list + 1] = { 10.0 ^ power, plain.format("1e%d", power) }
    end
    return list
  end
  for i, value in ipairs(ticks(low, high, 5)) do
    list[i] = { value, plain.format(spec.format or "%g", value * (spec.scale or 1)) }
  end
  return list
end

--- A frame with grid and numbers: parts, and the functions that place a value.
local function frame(spec, x_low, x_high, low, high)
  local function x_of(x) return LEFT + (x - x_low) / math.max(x_high - x_low, 1e-12) * (WIDTH - LEFT - RIGHT) end
  local function y_of(y)
    local share = spec.log and math.log(y / low) / math.log(high / low) or (y - low) / (high - low)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
  end
  local parts = {}
  local function add(text, values) parts[#parts + 1] = fill(text, values) end
  for _, tick in ipairs(value_ticks(spec, low, high)) do
    add('<line class="grid" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
      .. '<text x="{x}" y="{below}" text-anchor="end">{text}</text>',
      { x1 = LEFT, x2 = WIDTH - RIGHT, x = LEFT - 8, y = plain.format("%.1f", y_of(tick[1])),
        below = plain.format("%.1f", y_of(tick[1]) + 4), text = tick[2] })
  end
  local x_ticks = spec.x_ticks or ticks(x_low, x_high, math.min(spec.whole and x_high - x_low or 5, 8))
  for _, x in ipairs(x_ticks) do
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

--- The series of a logarithmic chart: without what has no logarithm.
local function positive(series)
  local list = {}
  for s, line in ipairs(series) do
    list[s] = { name = line.name, class = line.class, points = {}, band = {} }
    for _, point in ipairs(line.points) do
      if point[2] > 0 then table.insert(list[s].points, point) end
    end
    for _, at in ipairs(line.band or {}) do
      if at[2] > 0 then table.insert(list[s].band, at) end
    end
  end
  return list
end

--- The area between the lowest and the highest value at each x, and both in the bounds of the values.
local function add_bands(series, place, add)
  for _, line in ipairs(series) do
    local corners, band = {}, line.band or {}
    for i, at in ipairs(band) do corners[i] = plain.format("%.1f,%.1f", place { at[1], at[3] }) end
    for i = #band, 1, -1 do corners[#corners + 1] = plain.format("%.1f,%.1f", place { band[i][1], band[i][2] }) end
    if corners[1] then
      add('<polygon class="band-{class}" points="{points}"/>',
        { class = line.class, points = table.concat(corners, " ") })
    end
  end
end

--- Lines. `spec`: title; series of {name, class ("one", "two", "three"), points, band}, of which band, a list of {x,
-- lowest, highest}, may be missing; low, high, x_low, x_high where the axes are fixed; format and scale of the numbers;
-- log: a logarithmic scale, without values that are not above 0; x_format, x_tip (in titles), x_scale and x_ticks;
-- x_name, over (in words); whole: x counts; best: where a mark stands; diagonal: a line from corner to corner. "" where
-- there is no point.
function chart.lines(spec)
  local count, series = 0, spec.log and positive(spec.series) or spec.series
  for _, line in ipairs(series) do count = count + #line.points end
  if count == 0 then return "" end
  local low, high = bounds(series, 2, spec.low, spec.high)
  for _, line in ipairs(series) do
    for _, at in ipairs(line.band or {}) do low, high = math.min(low, at[2]), math.max(high, at[3]) end
  end
  if spec.log then low, high = low / 1.5, high * 1.5 end
  local x_low, x_high = bounds(series, 1, spec.x_low, spec.x_high)
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
  add_bands(series, place, add)
  local words = {}
  for _, line in ipairs(series) do
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
  parts[#parts + 1] = end_labels(series, place)
  strips(spec, series, x_of, add)
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

--- Values with their limits, a line for each name: `spec`: title, rows of {name, values, mean, low, high} (limits may
-- be missing), format and scale of the numbers, x_name. "" where there is no row.
function chart.intervals(spec)
  local rows = spec.rows
  if #rows == 0 then return "" end
  local low, high, left, step = math.huge, -math.huge, 170, 26
  for _, row in ipairs(rows) do
    low, high = math.min(low, row.low or row.mean), math.max(high, row.high or row.mean)
    low, high = math.min(low, table.unpack(row.values)), math.max(high, table.unpack(row.values))
  end
  local room = math.max(0.05 * (high - low), 1e-6)
  low, high = low - room, high + room
  local height, parts, words = #rows * step + 40, {}, {}
  local function x_of(x) return plain.format("%.1f", left + (x - low) / (high - low) * (WIDTH - left - 20)) end
  local function add(text, values) parts[#parts + 1] = fill(text, values) end
  local function text_of(value) return plain.format(spec.format or "%g", value * (spec.scale or 1)) end
  for _, value in ipairs(ticks(low, high, 5)) do
    add('<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{y}"/>'
      .. '<text x="{x}" y="{t}" text-anchor="middle">{text}</text>',
      { x = x_of(value), y = #rows * step + 4, t = #rows * step + 18, text = text_of(value) })
  end
  for r, row in ipairs(rows) do
    local y = r * step - 9
    add('<text x="{x}" y="{y}" text-anchor="end">{name}</text>',
      { x = left - 8, y = y + 4, name = fitted(row.name, 24) })
    for _, value in ipairs(row.values) do
      add('<circle class="one faint" cx="{x}" cy="{y}" r="3"/>', { x = x_of(value), y = y })
    end
    if row.low then
      add('<line class="one" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>', { a = x_of(row.low), b = x_of(row.high), y = y })
    end
    add('<circle class="one" cx="{x}" cy="{y}" r="5"><title>{name}: {text}</title></circle>',
      { x = x_of(row.mean), y = y, name = row.name, text = text_of(row.mean) })
    words[r] = ("%s %s"):format(row.name, text_of(row.mean))
  end
  add('<text x="{x}" y="{y}" text-anchor="end">{name}</text>', { x = WIDTH - 20, y = height - 4, name = spec.x_name })
  return fill([[<figure class="card"><figcaption>{title}</figcaption>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}: {words}">
{_parts}
</svg></figure>]], { title = spec.title, width = WIDTH, height = height, words = table.concat(words, ", "),
    _parts = table.concat(parts, "\n") })
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
      { x = left - 6, y = r * cell - 4, name = fitted(name, 24) })
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

local STYLE = [[<style>
svg { --card: #fff; --soft: #5b626d; --line: #dcdcd6; --one: #1d5fc0; --two: #b4490a; --three: #2f7a3d;
  background: var(--card); font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { --card: #1d2026; --soft: #a3aab5; --line: #343942; --one: #82b4ff;
  --two: #ffab6b; --three: #7fd192; } }
%s
</style>]]

--- Writes a chart (its HTML) as a picture of its own, SVG that is light or dark as the page around it; true, or nil
-- and a message.
function chart.write(path, text)
  local svg = text:match "<svg.*</svg>"
  if not svg then return nil, path .. ": there is nothing to draw" end
  local rules = {}
  for rule in style:gmatch "svg [^{}]+ {[^{}]*}" do rules[#rules + 1] = rule end
  local opening, rest = svg:match "^<svg(.->\n)(.*)$"
  return files.write(path, table.concat {
    '<svg xmlns="http://www.w3.org/2000/svg"', opening, STYLE:format(table.concat(rules, "\n")), "\n", rest, "\n",
  })
end

return chart
