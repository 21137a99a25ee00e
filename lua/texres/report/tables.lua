--- Tables of a report: large figures, epochs, confusion matrix, classes with their limits, facts.

local confusions = require "texres.metrics.confusions"
local html = require "texres.report.html"
local plain = require "texres.plain"
local terminal = require "texres.terminal"

local fill, each, percent, number, spaced = html.fill, html.each, html.percent, html.number, html.spaced

local tables = {}

function tables.epochs(run)
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

local LISTED = 30

-- What is confused most often, in place of the matrix of many classes.
local function often(result)
  return fill([[<div class="card scroll"><table><caption>What is confused most often</caption>
<thead><tr><th class="name" scope="col">truth</th><th class="name" scope="col">prediction</th>
<th scope="col">images</th></tr></thead><tbody>
{_rows}
</tbody></table></div>]], { _rows = each(confusions.list(result, LISTED), function(pair)
    return fill("<tr><td>{truth}</td><td>{predicted}</td><td>{count}</td></tr>", {
      truth = spaced(result.classes[pair.truth]), predicted = spaced(result.classes[pair.predicted]),
      count = pair.count,
    })
  end) })
end

--- The confusion matrix; of many classes what is confused most often.
function tables.confusion(result)
  if #result.classes > confusions.MOST then return often(result) end -- of 1000 it would be 100 MB
  local counts = result.confusion:totable()
  local function cells(row, truth)
    local support = math.max(result.per_class[truth].support, 1)
    return each(row, function(count, predicted)
      local share = count / support
      return fill('<td class="{class}" style="--share: {share}" title="{truth} taken for {predicted}">{count}'
        .. "<small>{percent}&nbsp;%</small></td>", {
        class = truth == predicted and "right" or "wrong", count = count,
        share = plain.format("%.2f", 0.6 * share ^ 0.7), percent = plain.format("%.0f", 100 * share),
        truth = spaced(result.classes[truth]), predicted = spaced(result.classes[predicted]),
      })
    end)
  end
  return fill([[<div class="card scroll"><table class="confusion">
<caption>Confusion matrix</caption>
<thead><tr><th class="name" scope="col">truth \ prediction</th>{_heads}</tr></thead><tbody>
{_rows}
</tbody></table></div>]], {
    _heads = each(result.classes, function(name)
      return fill('<th scope="col">{name}</th>', { name = spaced(name) })
    end),
    _rows = each(counts, function(row, truth)
      return fill('<tr><th scope="row">{name}</th>{_cells}</tr>',
        { name = spaced(result.classes[truth]), _cells = cells(row, truth) })
    end),
  })
end

--- The limits of the recall of a class, in words; "" where it is not known what each image was given.
local function limits_of_recall(result, class)
  if not result.scores or result.per_class[class].support == 0 then return "" end
  local share = result:recall(class)
  if share.groups == 1 then return "of one group" end
  return plain.format("%.0f to %.0f", 100 * share.low, 100 * share.high)
end

function tables.classes(result)
  local function row(name, values, support, limits)
    return fill('<tr><th scope="row">{name}</th><td>{precision}</td><td>{recall}{_limits}</td><td>{f1}</td>'
      .. "<td>{support}</td></tr>", {
      name = spaced(name), precision = percent(values.precision), recall = percent(values.recall),
      _limits = limits ~= "" and fill(" <small>{limits}</small>", { limits = limits }) or "",
      f1 = number(values.f1, "%.3f"), support = support,
    })
  end
  return fill([[<div class="card scroll"><table><caption>Classes</caption>
<thead><tr><th class="name" scope="col">class</th><th scope="col">precision</th><th scope="col">recall</th>
<th scope="col">F1</th><th scope="col">images</th></tr></thead><tbody>
{_rows}
</tbody><tfoot>{_mean}</tfoot></table></div>]], {
    _rows = each(result.per_class, function(values, c)
      return row(values.class, values, values.support, limits_of_recall(result, c))
    end),
    _mean = row("mean of the classes that occur", result.macro, result.images, ""),
  })
end

--- Recall of defects by how much of the image they cover, of a set with masks; "" for others.
function tables.cover(result, point)
  if not result:has_masks() then return "" end
  local rows = result:by_cover { point = point }
  return fill([[<div class="card scroll"><table><caption>Defects found, by how much of the image they cover</caption>
<thead><tr><th class="name" scope="col">covered</th><th scope="col">found</th><th scope="col">images</th></tr></thead>
<tbody>
{_rows}
</tbody></table></div>]], { _rows = each(rows, function(row)
    return fill('<tr><th scope="row">{low} to {high}&nbsp;%</th><td>{_found}</td><td>{images}</td></tr>', {
      low = plain.format("%g", 100 * row.low), high = plain.format("%g", 100 * row.high),
      _found = fill("{value} <small>{low} to {high}</small>", { value = percent(row.found.value),
        low = plain.format("%.0f", 100 * row.found.low), high = plain.format("%.0f", 100 * row.found.high) }),
      images = row.found.images,
    })
  end) })
end

--- Large figures side by side, from rows of name and value.
function tables.figures(rows)
  return '<dl class="figures">' .. each(rows, function(row)
    return fill("<div><dt>{name}</dt><dd>{value}</dd></div>", { name = row[1], value = row[2] })
  end) .. "</dl>"
end

function tables.facts(title, rows)
  return fill([[<div class="card scroll"><table><caption>{title}</caption><tbody>
{_rows}
</tbody></table></div>]], { title = title, _rows = each(rows, function(row)
    return fill('<tr><th scope="row">{name}</th><td class="name">{value}</td></tr>', { name = row[1], value = row[2] })
  end) })
end

return tables
