--- One HTML page that tells how a training went: a file that opens offline, in light and dark, in print and for a
-- screen reader. No scripts, nothing fetched; curves are inline SVG.
--
--     report.write("run/report.html", {
--       title = "textile", date = "2026-01-31 12:00",      -- by default now
--       history = { { epoch = 1, lr = 1e-3, loss = 1.2, accuracy = 0.5, val_loss = 1.1, val_accuracy = 0.6,
--                     seconds = 12.5, images_per_second = 310 }, ... },
--       best = 1,                                          -- the epoch of the best checkpoint
--       results = { { name = "Validation", note = "epoch 1", result = metrics result }, ... },
--       configuration = { { "epochs", "5" }, ... },        -- rows of name and value
--       environment = { { "cores", "2" }, ... },
--       summary = "the model's layers, as a text table", parameters = 12345, -- how many numbers they hold
--     })

local files = require "texres.files"
local plain = require "texres.plain"
local terminal = require "texres.terminal"

local report = {}

local STYLE = [[
:root { color-scheme: light dark; --page: #f6f6f3; --card: #ffffff; --ink: #1b1e23; --soft: #5b626d; --line: #dcdcd6;
  --one: #1d5fc0; --two: #b4490a; --heat: 29 95 192; --miss: 200 85 15; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --card: #1d2026; --ink: #e9e9e6; --soft: #a3aab5;
  --line: #343942; --one: #82b4ff; --two: #ffab6b; --heat: 90 150 255; --miss: 255 140 60; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p.sub { color: var(--soft); margin: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0;
  padding: 0; }
.figures div, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .8rem 1rem; }
.figures dt { color: var(--soft); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem;
  align-items: start; }
figure { margin: 0; }
figcaption, caption { font-weight: 600; text-align: left; padding: 0 0 .4rem; }
svg { display: block; width: 100%; height: auto; font-size: 12px; }
svg text { fill: var(--soft); }
svg .grid { stroke: var(--line); }
svg .one, svg .two { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .one { stroke: var(--one); } svg .two { stroke: var(--two); stroke-dasharray: 6 3; }
svg circle.one { fill: var(--one); } svg circle.two { fill: var(--two); stroke-dasharray: none; }
svg text.one { fill: var(--one); stroke: none; } svg text.two { fill: var(--two); stroke: none; }
svg .best { stroke: var(--soft); stroke-dasharray: 2 3; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--soft); font-size: .85rem; vertical-align: bottom; }
tbody th, tfoot th, thead th.name, td.name { text-align: left; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
td:not(.name) { white-space: nowrap; }
td.name { overflow-wrap: anywhere; }
.confusion td { text-align: center; border: 1px solid var(--line); min-width: 3.2rem; line-height: 1.25; }
.confusion td.right { background: rgb(var(--heat) / var(--share)); }
.confusion td.wrong { background: rgb(var(--miss) / var(--share)); }
.confusion small { display: block; color: inherit; opacity: .8; }
.confusion thead th:not(.name) { text-align: center; }
pre { margin: 0; overflow-x: auto; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
summary { cursor: pointer; color: var(--soft); padding: .4rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; } .card, .figures div { break-inside: avoid; } }
]]

-- -- small pieces -----------------------------------------------------------------------------------------------------

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(text) return (plain.visible(plain.text(text)):gsub('[&<>"]', ENTITIES)) end

--- Fills the {names} of a piece of HTML with escaped values; a name that begins with _ holds HTML and goes in as it is.
local function fill(html, values)
  return (html:gsub("{([%w_]+)}", function(name)
    local value = values[name]
    if value == nil then error("report: no value for {" .. name .. "}") end
    return name:sub(1, 1) == "_" and value or escape(value)
  end))
end

local function each(list, make)
  local parts = {}
  for i, item in ipairs(list) do parts[i] = make(item, i) end
  return table.concat(parts, "\n")
end

local function finite(x) return type(x) == "number" and x - x == 0 end
local function percent(x) return finite(x) and plain.format("%.1f %%", 100 * x) or "–" end
local function number(x, format) return finite(x) and plain.format(format or "%.4f", x) or "–" end

-- -- curves -----------------------------------------------------------------------------------------------------------

local WIDTH, HEIGHT = 560, 260
local LEFT, RIGHT, TOP, BOTTOM = 58, 92, 12, 34

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

local function bounds(series, low, high)
  for _, line in ipairs(series) do
    for _, point in ipairs(line.points) do
      low, high = math.min(low or point[2], point[2]), math.max(high or point[2], point[2])
    end
  end
  low, high = low or 0, high or 1
  if high - low < 1e-12 then high = low + math.max(math.abs(low), 1e-6) end
  return low, high
end

--- The points of one column of the history that are finite numbers.
local function points(history, column)
  local list = {}
  for _, row in ipairs(history) do
    if finite(row[column]) then list[#list + 1] = { row.epoch, row[column] } end
  end
  return list
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
  return each(labels, function(label) return fill('<text class="{class}" x="{x}" y="{y}">{name}</text>', label) end)
end

--- A figure with lines over the epochs. `chart`: title, series of {name, class, points}, low and high of the axis where
-- they are fixed, format of its numbers.
local function curves(chart, best)
  local low, high = bounds(chart.series, chart.low, chart.high)
  local first, last = math.huge, -math.huge
  for _, line in ipairs(chart.series) do
    for _, point in ipairs(line.points) do first, last = math.min(first, point[1]), math.max(last, point[1]) end
  end
  if first > last then return "" end
  local span = math.max(last - first, 1)
  local function x_of(epoch)
    local along = last > first and (epoch - first) / span or 0.5
    return LEFT + along * (WIDTH - LEFT - RIGHT)
  end
  local function y_of(value) return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM) end
  local function place(point) return x_of(point[1]), y_of(point[2]) end

  local parts, words = {}, {}
  local function add(html, values) parts[#parts + 1] = fill(html, values) end
  for _, value in ipairs(ticks(low, high, 5)) do
    add('<line class="grid" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>'
      .. '<text x="{x}" y="{below}" text-anchor="end">{text}</text>',
      { x1 = LEFT, x2 = WIDTH - RIGHT, x = LEFT - 8, y = plain.format("%.1f", y_of(value)),
        below = plain.format("%.1f", y_of(value) + 4),
        text = plain.format(chart.format or "%g", value * (chart.scale or 1)) })
  end
  for _, epoch in ipairs(ticks(first, first + span, math.min(span, 8))) do
    if epoch <= last and epoch == math.floor(epoch) then
      add('<text x="{x}" y="{y}" text-anchor="middle">{epoch}</text>',
        { x = plain.format("%.1f", x_of(epoch)), y = HEIGHT - BOTTOM + 18, epoch = math.tointeger(epoch) })
    end
  end
  add('<text x="{x}" y="{y}" text-anchor="end">epoch</text>', { x = WIDTH - RIGHT + 50, y = HEIGHT - BOTTOM + 18 })
  if best then
    add('<line class="best" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"><title>best epoch: {epoch}</title></line>',
      { x = plain.format("%.1f", x_of(best)), y1 = TOP, y2 = HEIGHT - BOTTOM, epoch = best })
  end
  for _, line in ipairs(chart.series) do
    local path = {}
    for i, point in ipairs(line.points) do path[i] = plain.format("%.1f,%.1f", place(point)) end
    add('<polyline class="{class}" points="{path}"/>', { class = line.class, path = table.concat(path, " ") })
    for _, point in ipairs(#line.points <= 60 and line.points or {}) do
      local x, y = place(point)
      add('<circle class="{class}" cx="{x}" cy="{y}" r="3"><title>{name}, epoch {epoch}: {value}</title></circle>',
        { class = line.class, x = plain.format("%.1f", x), y = plain.format("%.1f", y), name = line.name,
          epoch = point[1],
          value = plain.format("%.4g", point[2]) })
    end
    local final = line.points[#line.points]
    if final then words[#words + 1] = plain.format("%s ends at %.4g", line.name, final[2]) end
  end
  parts[#parts + 1] = end_labels(chart.series, place)
  return fill([[<figure class="card"><figcaption>{title}</figcaption>
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title} over the epochs: {words}">
{_parts}
</svg></figure>]], { title = chart.title, width = WIDTH, height = HEIGHT, words = table.concat(words, ", "),
    _parts = table.concat(parts, "\n") })
end

local function all_curves(run)
  local history = run.history
  local function pair(train, val)
    return { { name = "training", class = "one", points = points(history, train) },
      { name = "validation", class = "two", points = points(history, val) } }
  end
  local charts = {
    { title = "Loss", series = pair("loss", "val_loss"), low = 0 },
    { title = "Accuracy", series = pair("accuracy", "val_accuracy"), high = 1, scale = 100, format = "%g %%" },
    { title = "Learning rate", series = { { name = "rate", class = "one", points = points(history, "lr") } }, low = 0 },
    { title = "Speed in images/s", low = 0,
      series = { { name = "training", class = "one", points = points(history, "images_per_second") } } },
  }
  return '<div class="pair">' .. each(charts, function(chart) return curves(chart, run.best) end) .. "</div>"
end

-- -- tables -----------------------------------------------------------------------------------------------------------

local function epochs_table(run)
  return fill([[<details><summary>The same as a table</summary><div class="scroll card"><table>
<thead><tr><th scope="col">epoch</th><th scope="col">rate</th><th scope="col">loss</th><th scope="col">accuracy</th>
<th scope="col">validation loss</th><th scope="col">validation accuracy</th><th scope="col">images/s</th>
<th scope="col">time</th></tr></thead><tbody>
{_rows}
</tbody></table></div></details>]], { _rows = each(run.history, function(row)
    return fill("<tr><td>{epoch}{best}</td><td>{lr}</td><td>{loss}</td><td>{accuracy}</td><td>{val_loss}</td>"
      .. "<td>{val_accuracy}</td><td>{speed}</td><td>{time}</td></tr>", {
      epoch = row.epoch, best = row.epoch == run.best and " (best)" or "", lr = number(row.lr, "%.3g"),
      loss = number(row.loss), accuracy = percent(row.accuracy), val_loss = number(row.val_loss),
      val_accuracy = percent(row.val_accuracy), speed = number(row.images_per_second, "%.0f"),
      time = terminal.duration(row.seconds),
    })
  end) })
end

local function confusion_table(result)
  local counts = result.confusion:totable()
  local function cells(row, truth)
    local support = math.max(result.per_class[truth].support, 1)
    return each(row, function(count, predicted)
      local share = count / support
      return fill('<td class="{class}" style="--share: {share}" title="{truth} taken for {predicted}">{count}'
        .. "<small>{percent}&nbsp;%</small></td>", {
        class = truth == predicted and "right" or "wrong", count = count,
        share = plain.format("%.2f", 0.6 * share ^ 0.7), percent = plain.format("%.0f", 100 * share),
        truth = result.classes[truth], predicted = result.classes[predicted],
      })
    end)
  end
  return fill([[<div class="card scroll"><table class="confusion">
<caption>Confusion matrix</caption>
<thead><tr><th class="name" scope="col">truth \ prediction</th>{_heads}</tr></thead><tbody>
{_rows}
</tbody></table></div>]], {
    _heads = each(result.classes, function(name)
      return fill('<th scope="col">{name}</th>', { name = (name:gsub("_", " ")) })
    end),
    _rows = each(counts, function(row, truth)
      return fill('<tr><th scope="row">{name}</th>{_cells}</tr>',
        { name = (result.classes[truth]:gsub("_", " ")), _cells = cells(row, truth) })
    end),
  })
end

local function class_table(result)
  local function row(name, values, support)
    return fill('<tr><th scope="row">{name}</th><td>{precision}</td><td>{recall}</td><td>{f1}</td>'
      .. "<td>{support}</td></tr>", {
      name = (name:gsub("_", " ")), precision = percent(values.precision), recall = percent(values.recall),
      f1 = number(values.f1, "%.3f"), support = support,
    })
  end
  return fill([[<div class="card scroll"><table><caption>Classes</caption>
<thead><tr><th class="name" scope="col">class</th><th scope="col">precision</th><th scope="col">recall</th>
<th scope="col">F1</th><th scope="col">images</th></tr></thead><tbody>
{_rows}
</tbody><tfoot>{_mean}</tfoot></table></div>]], {
    _rows = each(result.per_class, function(values) return row(values.class, values, values.support) end),
    _mean = row("mean of the classes that occur", result.macro, result.images),
  })
end

local function result_section(item)
  local invalid = 0
  for _, count in ipairs(item.result.invalid) do invalid = invalid + count end
  return fill([[<h2>{name}</h2><p class="sub">{note}</p>
<div class="pair" style="margin-top: .75rem">{_confusion}{_classes}</div>]], {
    name = item.name,
    note = ("accuracy %s of %d images, loss %s%s%s"):format(percent(item.result.accuracy), item.result.images,
      number(item.result.loss), item.note and " (" .. item.note .. ")" or "", invalid == 0 and ""
        or ("; %d of the images have no prediction: their probabilities are not numbers"):format(invalid)),
    _confusion = confusion_table(item.result), _classes = class_table(item.result),
  })
end

local function facts(title, rows)
  return fill([[<div class="card scroll"><table><caption>{title}</caption><tbody>
{_rows}
</tbody></table></div>]], { title = title, _rows = each(rows, function(row)
    return fill('<tr><th scope="row">{name}</th><td class="name">{value}</td></tr>', { name = row[1], value = row[2] })
  end) })
end

local function figures(run)
  local last, list, seconds, images = run.history[#run.history], {}, 0, 0
  for _, row in ipairs(run.history) do
    seconds, images = seconds + row.seconds, images + row.seconds * (row.images_per_second or 0 / 0)
  end
  for i, item in ipairs(run.results) do list[i] = { item.name .. " accuracy", percent(item.result.accuracy) } end
  if last then
    list[#list + 1] = { run.best and ("Epochs (best: %d)"):format(run.best) or "Epochs", last.epoch }
    list[#list + 1] = { "Training time", terminal.duration(seconds) }
    list[#list + 1] = { "Images/s in training", number(images / seconds, "%.0f") }
  end
  if run.parameters then list[#list + 1] = { "Parameters", run.parameters } end
  return '<dl class="figures">' .. each(list, function(item)
    return fill("<div><dt>{name}</dt><dd>{value}</dd></div>", { name = item[1], value = item[2] })
  end) .. "</dl>"
end

-- -- the page ---------------------------------------------------------------------------------------------------------

--- The page as a string.
function report.html(run)
  return fill([[<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: training report</title>
<style>
{_style}</style></head><body>
<header><h1>{title}: training report</h1><p class="sub">{date}</p></header>
<main>
{_figures}
<h2>Course of the training</h2>
{_curves}
{_epochs}
{_results}
<h2>How it was made</h2>
<div class="pair">{_configuration}{_environment}</div>
<details><summary>The model's layers</summary><div class="card"><pre>{summary}</pre></div></details>
</main>
<footer>Written by texres. Colours in the confusion matrix show the share of a row.</footer>
</body></html>
]], {
    title = run.title, date = run.date or os.date "%Y-%m-%d %H:%M", _style = STYLE, _figures = figures(run),
    _curves = all_curves(run), _epochs = epochs_table(run), _results = each(run.results, result_section),
    _configuration = facts("Configuration", run.configuration),
    _environment = facts("Environment", run.environment),
    summary = run.summary or "",
  })
end

--- Writes the page; true, or nil and a message.
function report.write(path, run) return files.write(path, report.html(run)) end

return report
