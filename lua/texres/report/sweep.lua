--- The page of a sweep (texres.sweep): a row for each variant, its accuracy with limits, and the runs side by side.

local chart = require "texres.report.chart"
local html = require "texres.report.html"
local plain = require "texres.plain"
local terminal = require "texres.terminal"

local fill, each, percent, finite = html.fill, html.each, html.percent, html.finite

local sweep = {}

--- A mean difference in points with its limits.
local function points(e)
  if not e then return "–" end
  local text = plain.points(e.mean)
  return e.low and ("%s (%s to %s)"):format(text, plain.points(e.low), plain.points(e.high)) or text
end

local function state_of(row)
  return row.state == "dropped" and ("dropped after %d"):format(row.dropped) or row.state
end

--- What the figures say, and what they don't.
local function meaning(s)
  local words = "A single seed: how far off another one would be is not known."
  if #s.seeds > 1 then
    words = ("%d seeds. The limits say how far off a mean over these seeds may be as other seeds would have given "
      .. "others (Student's t); they say nothing of other images."):format(#s.seeds)
  end
  if s.measured == "test" then return words end
  return words .. " Images that have chosen epochs or variants flatter them: see texres.sweep for a test set."
end

local function rows_table(s)
  return fill([[<div class="card scroll below"><table><caption>Variants</caption>
<thead><tr><th class="name" scope="col">variant</th><th scope="col">parameters</th><th scope="col">epochs</th>
<th scope="col">state</th>{_validation}<th scope="col">{measured}{over}</th>
<th scope="col">points against {first}</th><th scope="col">time</th></tr></thead><tbody>
{_rows}
</tbody></table></div>]], {
    measured = s.measured, over = #s.seeds > 1 and ", 95 % over seeds" or "", first = s.variants[1].name,
    _validation = s.measured == "test" and '<th scope="col">validation</th>' or "", _rows = each(s.rows, function(row)
    return fill('<tr><th scope="row">{name}</th><td>{parameters}</td><td>{done} of {epochs}</td><td>{state}</td>'
      .. "{_validation}<td>{mean}</td><td>{difference}</td><td>{time}</td></tr>", {
      name = row.name, parameters = plain.grouped(row.parameters), done = row.done, epochs = row.epochs,
      state = state_of(row),
      _validation = s.measured == "test" and fill("<td>{share}</td>", { share = percent(row.validation) }) or "",
      mean = html.share(row.mean, row.low, row.high), difference = points(row.difference),
      time = terminal.duration(row.seconds),
    })
  end) })
end

local CLASSES = { "one", "two", "three" }

--- Means of a column of the histories over the epochs, a line for each variant, with the lowest and highest seed.
local function curves(s, runs, column, spec)
  spec.series, spec.whole = {}, true
  for v, variant in ipairs(s.variants) do
    local line = { name = variant.name, class = CLASSES[(v - 1) % 3 + 1], points = {}, band = {} }
    local histories = runs[variant.name]
    for epoch = 1, #(histories[1] or {}) do
      local sum, low, high = 0, math.huge, -math.huge
      for _, history in ipairs(histories) do
        local value = history[epoch] and history[epoch][column]
        value = finite(value) and value or 0 / 0
        sum, low, high = sum + value, math.min(low, value), math.max(high, value)
      end
      if finite(sum) then
        table.insert(line.points, { epoch, sum / #histories })
        table.insert(line.band, { epoch, low, high })
      end
    end
    table.insert(spec.series, line)
  end
  return chart.lines(spec)
end

--- The body of the page. `runs`: of each variant's name the list of its runs as report.compare reads them; `beside`:
-- the HTML that lays all of them side by side.
function sweep.body(s, runs, beside)
  local shown, histories = {}, {}
  for _, row in ipairs(s.rows) do
    if row.mean then shown[#shown + 1] = row end
  end
  for name, list in pairs(runs) do
    histories[name] = {}
    for i, run in ipairs(list) do histories[name][i] = run.history end
  end
  return table.concat({
    each(s.rows, function(row)
      return row.failed and fill('<p class="warning">{name}: {why}</p>', { name = row.name, why = row.failed }) or ""
    end),
    '<div style="margin-top: 1rem">', rows_table(s), '</div><div class="pair">',
    chart.intervals { title = ("Accuracy (%s): each seed, mean, limits of 95 %%"):format(s.measured), rows = shown,
      format = "%g %%", scale = 100, x_name = "accuracy" },
    curves(s, histories, "loss", { title = "Training loss: mean and range over seeds", low = 0 }),
    curves(s, histories, "val_accuracy", { title = "Validation accuracy: mean and range over seeds", scale = 100,
      format = "%g %%" }),
    '</div><p class="sub" style="margin-top: 1rem">', html.escape(meaning(s)),
    "</p><details><summary>All runs side by side</summary>", beside, "</details>",
  }, "\n")
end

return sweep
