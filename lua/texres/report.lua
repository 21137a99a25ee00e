--- One HTML page that tells how a training went: a file that opens offline, in light and dark, in print and for a
-- screen reader. No scripts, nothing fetched; curves are inline SVG, pictures stand in the page.
--
--     report.write("run/report.html", {
--       title = "textile", date = "2026-01-31 12:00",      -- by default now
--       history = { { epoch = 1, lr = 1e-3, loss = 1.2, accuracy = 0.5, val_loss = 1.1, val_accuracy = 0.6,
--                     seconds = 12.5, images_per_second = 310 }, ... },
--       best = 1,                                          -- the epoch of the best checkpoint
--       results = { { name = "Validation", note = "epoch 1", result = metrics result, pictures = gallery's,
--                     chose = { "the epoch" } }, ... },    -- what these images were used to choose, if anything
--       configuration = { { "epochs", "5" }, ... },        -- rows of name and value
--       environment = { { "cores", "2" }, ... },
--       summary = "the model's layers, as a text table", parameters = 12345, -- how many numbers they hold
--       -- and, where they are known:
--       operating_point = ..., data = { { "training", "4200 images ..." } }, samples = rows of gallery.samples,
--       drawing = "<svg ...", inside = pictures of texres.report.inside, watched = records of the trainer's watch,
--       findings = { { text = "..." }, ... }, live = 10,   -- seconds after which the page loads itself again
--     })

local answers = require "texres.report.answers"
local chart = require "texres.report.chart"
local compare = require "texres.report.compare"
local files = require "texres.files"
local gallery = require "texres.report.gallery"
local html = require "texres.report.html"
local inside = require "texres.report.inside"
local operating_point = require "texres.metrics.operating_point"
local option = require "texres.options"
local plain = require "texres.plain"
local raise = require "texres.raise"
local style = require "texres.report.style"
local sweep = require "texres.report.sweep"
local tables = require "texres.report.tables"
local terminal = require "texres.terminal"

local fill, each, percent, number = html.fill, html.each, html.percent, html.number

local report = {}

-- -- the course of a training -----------------------------------------------------------------------------------------

local function all_curves(run)
  local history = run.history
  local function points(column) return chart.points(history, "epoch", column) end
  local function pair(train, val)
    return { { name = "training", class = "one", points = points(train) },
      { name = "validation", class = "two", points = points(val) } }
  end
  local charts = {
    { title = "Loss", series = pair("loss", "val_loss"), low = 0 },
    { title = "Accuracy", series = pair("accuracy", "val_accuracy"), high = 1, scale = 100, format = "%g %%" },
    { title = "Learning rate", series = { { name = "rate", class = "one", points = points "lr" } }, low = 0 },
    { title = "Speed in images/s", low = 0,
      series = { { name = "training", class = "one", points = points "images_per_second" } } },
  }
  return '<div class="pair">' .. each(charts, function(spec)
    spec.best, spec.whole = run.best, true
    return chart.lines(spec)
  end) .. "</div>"
end

--- Norms of gradients, layer by layer over the steps, on a logarithmic colour scale; "" where nothing was watched.
local function gradients(run)
  local records = {}
  for _, entry in ipairs(run.watched or {}) do
    if not entry.end_of_epoch then records[#records + 1] = entry end
  end
  if #records == 0 then return "" end
  local rows, place, values, columns, low, high = {}, {}, {}, {}, math.huge, -math.huge
  local every = math.max(1, #records // 60)
  for r = 1, #records, every do
    columns[#columns + 1] = "step " .. plain.text(records[r].step)
    for _, layer in ipairs(records[r].layers) do
      if not place[layer.name] then
        rows[#rows + 1] = layer.name
        place[layer.name], values[#rows] = #rows, {}
      end
      if html.finite(layer.gradient) and layer.gradient > 0 then
        local power = math.log(layer.gradient, 10)
        values[place[layer.name]][#columns] = power
        low, high = math.min(low, power), math.max(high, power)
      end
    end
  end
  if low > high then return "" end
  return '<div class="pair">' .. chart.heat {
    title = plain.format("Gradient norms, layer by layer (log10, %.1f dark to %.1f light)", low, high), rows = rows,
    columns = columns, values = values, low = low, high = high, x_name = "steps", over = "the steps",
  } .. "</div>"
end

local function course(run)
  if #run.history == 0 then return "" end
  return all_curves(run) .. tables.epochs(run) .. gradients(run)
end

-- -- results ----------------------------------------------------------------------------------------------------------

--- Two columns of at most about 300 of a curve's points, the last one among them.
local function thinned(points, x, y)
  local list, every = {}, math.max(1, #points // 300)
  for i = 1, #points, every do list[#list + 1] = { points[i][x], points[i][y] } end
  list[#list + 1] = { points[#points][x], points[#points][y] }
  return list
end

--- Defect scores of the good images and of the others; nil where one is not a number, or all are on one side.
local function scores_by_side(result, scores, good)
  local fine, defect = {}, {}
  for i, label in ipairs(result.labels:totable()) do
    if scores[i] ~= scores[i] then return nil end
    table.insert(label == good and fine or defect, scores[i])
  end
  if #fine == 0 or #defect == 0 then return nil end
  return fine, defect
end

local UNIT = { low = 0, high = 1, scale = 100, format = "%g %%", x_low = 0, x_high = 1, x_scale = 100,
  x_format = "%g %%", x_tip = "%.1f %%" }

--- A chart of one line whose axes both go from 0 to 100 %.
local function unit_chart(spec, name, points)
  spec.series = { { name = name, class = "one", points = points } }
  for key, value in pairs(UNIT) do spec[key] = value end
  return chart.lines(spec)
end

--- Curves of the defect score: scores of good and defective images, ROC, precision over recall, calibration.
local function score_charts(run, result)
  local decisions, scores, good, point = answers.decisions(run, result)
  if not decisions then return "" end
  local fine, defect = scores_by_side(result, scores, good)
  if not fine then return "" end
  local name, calibration, confidence = result.classes[good], result:calibration(), {}
  local roc, pr = result:roc(nil, { good = name }), result:precision_recall(nil, { good = name })
  for i, bin in ipairs(calibration.bins) do confidence[i] = { bin.confidence, bin.accuracy } end
  return '<div class="pair" style="margin-top: .75rem">' .. table.concat({
    chart.histogram { title = "Defect scores", x_name = "score", over = "the defect score",
      mark = point and operating_point.rejects_from(point), series = { { name = name, class = "one", values = fine },
        { name = "defects", class = "two", values = defect } } },
    unit_chart({ title = plain.format("ROC, defect against %s: area %.4f", name, roc.area), diagonal = true,
      x_name = "rejected good", over = "the share of good pieces that are rejected" }, "found",
      thinned(roc.points, "false_positives", "true_positives")),
    unit_chart({ title = plain.format("Precision over recall of defects: average %.4f", pr.area), x_name = "recall",
      over = "recall" }, "precision", thinned(pr.points, "recall", "precision")),
    unit_chart({ title = plain.format("Calibration: mean distance %.1f points", 100 * calibration.error),
      diagonal = true, x_name = "confidence", over = "the confidence of predictions" }, "right", confidence),
    tables.cover(result, point),
  }, "\n") .. "</div>"
end

local function result_section(run, item, place)
  local result = item.result
  local invalid = result:unpredicted()
  local low, high = result:limits()
  return fill([[<h2>{name}</h2><p class="sub">{note}</p>
<div class="pair" style="margin-top: .75rem">{_confusion}{_classes}</div>{_charts}{_pictures}]], {
    name = item.name,
    note = ("accuracy %s of %d images, loss %s%s%s"):format(html.share(result.accuracy, low, high), result.images,
      number(result.loss), item.note and " (" .. item.note .. ")" or "", invalid == 0 and ""
        or ("; %d of the images have no prediction: their probabilities are not numbers"):format(invalid)),
    _confusion = tables.confusion(result), _classes = tables.classes(result),
    _charts = invalid == 0 and score_charts(run, result) or "",
    _pictures = place < #run.results and gallery.html(item.pictures) or "", -- those of the last stand further up
  })
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
  return tables.figures(list)
end

local function section(title, body) return body == "" and "" or fill("<h2>{title}</h2>", { title = title }) .. body end

local function data_section(run)
  if not run.data then return "" end
  return '<div class="pair">' .. tables.facts("Images", run.data) .. "</div>" .. gallery.samples_html(run.samples)
end

-- -- the page ---------------------------------------------------------------------------------------------------------

local PAGE = [[<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{_live}
<title>{title}</title>
<style>
{_style}</style></head><body>
<header><h1>{title}</h1><p class="sub">{date}{under_way}</p></header>
<main>
{_body}
</main>
<footer>Written by texres. Colours in a confusion matrix show the share of a row; limits are of 95 % confidence, over
groups of images where the set has groups.</footer>
</body></html>
]]

local function page(title, run, body)
  return fill(PAGE, {
    title = title, date = run.date or os.date "%Y-%m-%d %H:%M", _style = style, _body = body,
    under_way = run.live and plain.format("; the training is under way, this page loads itself again every %g s",
      run.live) or "",
    _live = run.live and fill('<meta http-equiv="refresh" content="{seconds}">', { seconds = run.live }) or "",
  })
end

--- The page of a run, as texres.trainer.record makes one, as a string.
function report.html(run)
  local how = '<div class="pair">' .. tables.facts("Configuration", run.configuration)
    .. tables.facts("Environment", run.environment) .. "</div>"
  local last = run.results[#run.results]
  local findings = each(run.findings or {}, function(finding)
    return fill('<p class="warning">{text}</p>', { text = finding.text })
  end)
  return page(run.title .. (#run.history > 0 and ": training report" or ": report"), run, table.concat({
    findings, answers.html(run), last and gallery.html(last.pictures) or "", figures(run),
    section("Course of the training", course(run)),
    each(run.results, function(item, place) return result_section(run, item, place) end),
    section("Data", data_section(run)),
    section("Network", (run.drawing and '<div class="card scroll below">' .. run.drawing .. "</div>" or "")
      .. inside.html(run.inside)),
    section("How it was made", how),
    fill('<details><summary>The model\'s layers</summary><div class="card"><pre>{summary}</pre></div></details>',
      { summary = run.summary or "" }),
  }, "\n"))
end

--- Writes the page of a run, as texres.trainer.record makes one; true, or nil and a message.
function report.write(path, run) return files.write(path, report.html(run)) end

--- Writes the page of a trained network and of what it does on sets of images: the answers, with pictures, that a run's
-- own page has. `results` is a list of { name = "Roll 7", result = classifier:evaluate(set) }, the one that the first
-- screen is about last; it may be empty. `run` (optional): the folder of its run, whose course and options are told
-- with it. True, or nil and a message.
function report.tested(path, classifier, results, run)
  option.check("report.tested", "path", path, option.PATH)
  option.check("report.tested", "results", results, option.LIST)
  local told, message
  if run then
    told, message = compare.read(option.check("report.tested", "run", run, option.PATH))
    if not told then return nil, message end
  end
  return report.write(path, require("texres.report.tested")(classifier, results, told, path:match "^(.*)/" or "."))
end

--- Writes a page that lays runs side by side: accuracies with limits, curves, what differs in their options. `folders`
-- is a list of folders of trainers, each with its run.json. True, or nil and a message.
function report.compare(folders, path)
  option.check("report.compare", "folders", folders, option.table())
  option.check("report.compare", "path", path, option.PATH)
  local runs = {}
  for i, folder in ipairs(folders) do
    local message
    runs[i], message = compare.read(option.check("report.compare", ("folder %d"):format(i), folder, option.PATH))
    if not runs[i] then return nil, message end
  end
  if #runs == 0 then raise "report.compare: give a list of folders of runs" end
  return files.write(path, page("Runs side by side", {}, compare.body(runs)))
end

--- Writes the page of a sweep (texres.sweep); true, or nil and a message.
function report.sweep(path, swept)
  local runs, all = {}, {}
  for _, variant in ipairs(swept.variants) do
    runs[variant.name] = {}
    for _, run in ipairs(swept.runs[variant.name]) do
      local read = run.noted.done > 0 and compare.read(run.dir)
      if read then
        table.insert(runs[variant.name], read)
        all[#all + 1] = read
      end
    end
  end
  local beside = all[1] and compare.body(all) or ""
  return files.write(path, page("Sweep", {}, sweep.body(swept, runs, beside)))
end

--- Writes a page with this title and body, HTML that is taken as it is; true, or nil and a message.
function report.page(path, title, body) return files.write(path, page(title, {}, body)) end

--- Writes the page of a cross-validation (texres.cross_validate) with pictures of its first seed (answers.pictures);
-- true, or nil and a message.
function report.cross_validation(path, cv, pictures)
  local run = { operating_point = cv.operating_point, results = { {
    name = "Held out", note = ("seed %d, %d of %d"):format(cv.seeds[1], 1, #cv.seeds), result = cv.by_seed[1],
    chose = cv.operating_point and { "the operating point" },
  } } }
  local heads = each(cv.seeds, function(seed) return fill('<th scope="col">seed {n}</th>', { n = seed }) end)
  local function row(name, of)
    local cells = {}
    for s in ipairs(cv.seeds) do cells[s] = fill("<td>{text}</td>", { text = percent(of(s)) }) end
    return fill('<tr><th scope="row">{name}</th>{_cells}</tr>', { name = name, _cells = table.concat(cells) })
  end
  local rows = {}
  for f = 1, cv.folds do rows[f] = row("fold " .. f, function(s) return cv.results[s][f].accuracy end) end
  rows[#rows + 1] = row("all folds", function(s) return cv.by_seed[s].accuracy end)
  local figures_of = { { "Accuracy", html.share(cv.accuracy, cv.low, cv.high) },
    { "Balanced accuracy", percent(cv.balanced_accuracy) } }
  if #cv.seeds > 1 then
    figures_of[3] = { "Spread between seeds", plain.format("%.1f points", 100 * cv.spread) }
  end
  local point = cv.operating_point and fill('<h2>Operating point</h2><div class="card"><pre>{text}</pre></div>',
    { text = tostring(cv.operating_point) }) or ""
  return files.write(path, page("Cross-validation", {}, table.concat({
    answers.html(run), gallery.html(pictures), tables.figures(figures_of), point,
    fill([[<h2>Folds</h2><div class="card scroll"><table><thead><tr><th></th>{_heads}</tr></thead><tbody>
{_rows}
</tbody></table></div>]], { _heads = heads, _rows = table.concat(rows, "\n") }),
    result_section(run, run.results[1], 1),
  }, "\n")))
end

return report
