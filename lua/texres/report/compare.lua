--- Several runs side by side: a page made of the run.json that each trainer leaves in its folder.
--
--     report.compare({ "runs/plain", "runs/residual" }, "runs/compare.html")

local answers = require "texres.report.answers"
local chart = require "texres.report.chart"
local files = require "texres.files"
local html = require "texres.report.html"
local json = require "texres.json"

local fill, each = html.fill, html.each

local compare = {}

--- What a result says of the line, as the first screen of a report does: the shares of defects that pass and of good
-- pieces that are rejected; nil where it says nothing.
local function line_of(item)
  local a = answers.of { results = { item }, operating_point = item.point }
  if not a then return nil end
  local function share(s) return { value = s.value, low = s.low, high = s.high } end
  return { pass = share(a.pass), reject = share(a.reject) }
end

--- What run.json holds of a run: title, history, parameters, configuration, and the figures of each result with their
-- limits.
function compare.summary(run)
  local results = {}
  for i, item in ipairs(run.results) do
    local result = item.result
    local low, high = result:limits()
    local recalls = {}
    for _, row in ipairs(result.per_class) do recalls[#recalls + 1] = { class = row.class, recall = row.recall } end
    results[i] = { name = item.name, note = item.note, images = result.images, accuracy = result.accuracy, low = low,
      high = high, balanced_accuracy = result.balanced_accuracy, loss = result.loss, per_class = recalls,
      line = line_of(item) }
  end
  local rows = {}
  for i, row in ipairs(run.configuration) do rows[i] = { row[1], tostring(row[2]) } end
  return { title = run.title, history = run.history, best = run.best, parameters = run.parameters, results = results,
    configuration = rows, under_way = run.under_way }
end

--- Whether a value is a list of items that `holds` is true of.
local function is_list(value, holds)
  if type(value) ~= "table" then return false end
  for _, item in ipairs(value) do
    if type(item) ~= "table" or not holds(item) then return false end
  end
  return true
end

local function is_number_or_nil(value) return value == nil or type(value) == "number" end

local function is_share(value)
  return type(value) == "table" and is_number_or_nil(value.value) and is_number_or_nil(value.low)
    and is_number_or_nil(value.high)
end

local function is_line(value)
  return value == nil or type(value) == "table" and is_share(value.pass) and is_share(value.reject)
end

local function is_result(item)
  return type(item.name) == "string" and is_number_or_nil(item.accuracy) and is_number_or_nil(item.low)
    and is_number_or_nil(item.high) and is_line(item.line)
end

local function is_run(data)
  return type(data) == "table" and type(data.title) == "string" and is_number_or_nil(data.parameters)
    and is_list(data.history, function() return true end) and is_list(data.results, is_result)
    and is_list(data.configuration, function(row) return type(row[1]) == "string" and type(row[2]) == "string" end)
end

--- Reads run.json of a folder; nil and a message.
function compare.read(folder)
  local text, message = files.read(folder .. "/run.json")
  if not text then return nil, message end
  local data
  data, message = json.decode(text)
  if not is_run(data) then
    return nil, ("%s/run.json: %s"):format(folder, message or "not what a trainer leaves there")
  end
  data.folder = folder
  return data
end

local LINES = { "one", "two" }

local function curves(runs, column, spec)
  for _, run in ipairs(runs) do
    table.insert(spec.series, { name = run.short, class = LINES[(#spec.series) % 2 + 1],
      points = chart.points(run.history, "epoch", column) })
  end
  spec.whole = true
  return chart.lines(spec)
end

--- A row for each run, a column for each name of a result; of several results of one name the last one counts.
-- `show`: what a cell says of a result, nil for nothing.
local function results_table(runs, caption, show)
  local names, seen = {}, {}
  for _, run in ipairs(runs) do
    for _, result in ipairs(run.results) do
      if show(result) and not seen[result.name] then seen[result.name], names[#names + 1] = true, result.name end
    end
  end
  local function cell(run, name)
    for i = #run.results, 1, -1 do
      local r = run.results[i]
      if r.name == name then return show(r) or "–" end
    end
    return "–"
  end
  return fill([[<div class="card scroll below"><table><caption>{caption}</caption>
<thead><tr><th class="name" scope="col">run</th><th scope="col">parameters</th><th scope="col">epochs</th>
{_heads}</tr></thead><tbody>{_rows}</tbody></table></div>]], {
    caption = caption,
    _heads = each(names, function(name) return fill('<th scope="col">{name}</th>', { name = name }) end),
    _rows = each(runs, function(run)
      return fill('<tr><th scope="row">{name}</th><td>{parameters}</td><td>{epochs}</td>{_cells}</tr>', {
        name = run.label, parameters = run.parameters or "–", epochs = #run.history,
        _cells = each(names, function(name) return fill("<td>{text}</td>", { text = cell(run, name) }) end),
      })
    end),
  })
end

--- The same of a share at the line, "pass" or "reject"; "" where no run tells it.
local function line_table(runs, caption, which)
  local told = false
  local function show(result)
    local share = result.line and result.line[which]
    told = told or share ~= nil
    return share and html.share(share.value, share.low, share.high)
  end
  local text = results_table(runs, caption, show)
  return told and text or ""
end

--- What differs in the configurations, a row for each name.
local function differences(runs)
  local names, of_name = {}, {}
  for r, run in ipairs(runs) do
    for _, row in ipairs(run.configuration) do
      if not of_name[row[1]] then of_name[row[1]], names[#names + 1] = {}, row[1] end
      of_name[row[1]][r] = row[2]
    end
  end
  return fill([[<div class="card scroll"><table><caption>What differs</caption>
<thead><tr><th class="name"></th>{_heads}</tr></thead><tbody>{_rows}</tbody></table></div>]], {
    _heads = each(runs, function(run)
      return fill('<th class="name" scope="col">{name}</th>', { name = run.short })
    end),
    _rows = each(names, function(name)
      local values, same = of_name[name], true
      for r = 1, #runs do same = same and values[r] == values[1] end
      if same then return "" end
      local cells = {}
      for r = 1, #runs do cells[r] = fill('<td class="name">{value}</td>', { value = values[r] or "–" }) end
      return fill('<tr><th scope="row">{name}</th>{_cells}</tr>', { name = name, _cells = table.concat(cells) })
    end),
  })
end

--- The body of the page of some runs, as compare.read gives them.
function compare.body(runs)
  for i, run in ipairs(runs) do
    run.short = ("%d"):format(i)
    run.label = ("%d  %s (%s)"):format(i, run.title, run.folder)
  end
  return '<div style="margin-top: 1rem">' .. line_table(runs, "Defects that pass", "pass")
    .. line_table(runs, "Good pieces that are rejected", "reject")
    .. results_table(runs, "Accuracy with its limits", function(r) return html.share(r.accuracy, r.low, r.high) end)
    .. '</div><div class="pair" style="margin-top: 1rem">'
    .. curves(runs, "loss", { title = "Training loss", series = {}, low = 0 })
    .. curves(runs, "val_accuracy", { title = "Validation accuracy", series = {}, high = 1, scale = 100,
      format = "%g %%" }) .. '</div><div style="margin-top: 1rem">' .. differences(runs) .. "</div>"
end

return compare
