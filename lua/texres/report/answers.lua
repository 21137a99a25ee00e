--- What a process engineer asks first: how many defects pass, how many good pieces are rejected, how sure is that,
-- which kinds are missed? Answered for the last test that was made, else for the validation images.

local bootstrap = require "texres.metrics.bootstrap"
local classes = require "texres.classes"
local counted = require "texres.metrics.counted"
local gallery = require "texres.report.gallery"
local html = require "texres.report.html"
local operating_point = require "texres.metrics.operating_point"
local plain = require "texres.plain"

local fill, each = html.fill, html.each

local answers = {}

--- The point that decides: the model's own, else "reject what is predicted to be a defect" (nil).
local function point_for(run, result)
  local point = run.operating_point
  return point and operating_point.fits(point, result.classes) and point or nil
end

--- For each image: "accept", "reject" or "ask"; its defect score; the good class; the point. Nil where no class is
-- good.
function answers.decisions(run, result)
  local point = point_for(run, result)
  local good = classes.find(result.classes, point and point.good or classes.GOOD)
  if not good or not result.scores then return nil end
  local list, scores = result:decisions(point)
  return list, scores, good, point
end

local PICTURES = 6 -- of each kind

--- The pictures that say most of a result (gallery.telling), by kind; see gallery.pictures.
function answers.pictures(run, result, set, folder, why)
  local decisions, scores, good = answers.decisions(run, result)
  local found = {}
  for kind, places in pairs(gallery.telling(result, decisions, scores, good, PICTURES)) do
    local decided = kind == "passed" or kind == "rejected"
    found[kind] = gallery.pictures(result, set, places, folder, why, decided and scores)
  end
  return found
end

--- The share of the images of some classes that were decided so, as texres.metrics.counted has it, with `hits`.
local function share_decided(result, list, decision, is_wanted)
  local found, count = counted.of_result(result, is_wanted, function(i) return list[i] == decision end)
  found.hits = count
  return found
end

--- Everything that is said on the first screen, as data; nil where the classes have no good one, or nothing was
-- measured image by image.
function answers.of(run)
  local item = run.results[#run.results]
  if not item then return nil end
  local result = item.result
  local list, _, good, point = answers.decisions(run, result)
  if not list then return nil end
  local found = { item = item, point = point, kinds = {}, ask = 0 }
  found.pass = share_decided(result, list, "accept", function(label) return label ~= good end)
  found.reject = share_decided(result, list, "reject", function(label) return label == good end)
  if found.pass.images == 0 or found.reject.images == 0 then return nil end
  for _, decision in ipairs(list) do found.ask = found.ask + (decision == "ask" and 1 / #list or 0) end
  for c, name in ipairs(result.classes) do
    local kind = c ~= good and share_decided(result, list, "accept", function(label) return label == c end)
    if kind and kind.images > 0 then
      kind.name = name
      table.insert(found.kinds, kind)
    end
  end
  table.sort(found.kinds, function(a, b)
    if a.value ~= b.value then return a.value > b.value end
    return a.name < b.name
  end)
  found.groups = result.groups and select(2, bootstrap.units(#list, result.groups))
  return found
end

--- A card of the first screen; `text` is HTML.
local function card(title, value, text, bad)
  return fill('<div class="{class}"><h3>{title}</h3><strong>{value}</strong><p>{_text}</p></div>',
    { class = bad and "bad" or "", title = title, value = value, _text = text })
end

local function limits(s)
  if s.groups == 1 then
    return ("%d of %d counted, all of one group: of another one they tell nothing"):format(s.hits, s.images)
  end
  return plain.format("between %.1f and %s with 95 %% confidence; %d of %d counted", 100 * s.low, plain.percent(s.high),
    s.hits, s.images)
end

--- What an operating point was asked for, in words; nil where it does not say.
local function rule_text(rule)
  if type(rule) ~= "table" then return nil end
  if html.finite(rule.false_reject) then
    return plain.format("to reject at most %.3g %% of the good pieces", 100 * rule.false_reject)
  elseif html.finite(rule.escape) then
    return plain.format("to let at most %.3g %% of the defects pass", 100 * rule.escape)
  end
  return type(rule.cost) == "table" and "to cost least" or nil
end

--- How it is decided what is rejected.
local function decided(point)
  if not point then
    return "A piece is rejected where the likeliest class is a defect; an operating point would set the balance."
  end
  local rule = rule_text(point.rule)
  return plain.format("A piece is rejected from a defect score of %.4g on, %s, chosen on %d good images and %d "
    .. "defects%s.", operating_point.rejects_from(point),
    point.pooled and "the operating point of the pooled scores of all networks" or "the model's operating point",
    point.images.good, point.images.defect, rule and " " .. rule or "")
end

local FEW = 10 -- groups, of which limits are rather too narrow

local function cautions(a)
  local list, chose = {}, table.concat(a.item.chose or {}, " and ")
  if chose ~= "" then
    list[1] = ("These images also chose %s: on others the figures are rather worse."):format(chose)
  end
  local leak = a.item.audit and a.item.audit.leak or 0
  if leak > 0 then
    list[#list + 1] = ("%d of these images have an equal or alike one, or one of their group, in training: on others "
      .. "the figures are worse."):format(leak)
  end
  local views, wanted = a.item.result.views or 1, a.point and a.point.views or 1
  if a.point and views ~= wanted then
    list[#list + 1] = ("Scores are means over %d views of an image here, the point was chosen with %d: at the line the "
      .. "figures are others."):format(views, wanted)
  end
  if a.groups and a.groups < FEW then
    list[#list + 1] = ("%d groups are few: with others the figures may well lie outside the limits."):format(a.groups)
  end
  return #list > 0 and " " .. table.concat(list, " ") or ""
end

local function screen(about, cards, warning)
  return fill([[<h2>At the line</h2>
<p class="sub">{about}</p>
<div class="answers">{_cards}</div>{_warning}]], {
    about = about, _cards = each(cards, function(text) return text end),
    _warning = warning and fill('<p class="warning">{text}</p>', { text = warning }) or "",
  })
end

--- Where nothing was tested: what the images showed that the operating point was chosen on; "" where there is none.
local function screen_of_point(point)
  if not point then return "" end
  local function share(s, images)
    return { value = s.value, low = s.low, high = s.high, groups = s.groups, images = images,
      hits = math.floor(s.value * images + 0.5) }
  end
  local pass, reject = share(point.escape, point.images.defect), share(point.false_reject, point.images.good)
  return screen(decided(point) .. " No other images were tested: these are the figures on those, by networks that had "
    .. "not seen them; on others they are rather worse.", {
      card("Defects that pass", html.percent(pass.value), limits(pass), true),
      card("Good pieces that are rejected", html.percent(reject.value), limits(reject)),
    }, point.warning)
end

--- The first screen as HTML; "" where there is nothing to answer.
function answers.html(run)
  local a = answers.of(run)
  if not a then return #run.results == 0 and screen_of_point(run.operating_point) or "" end
  local cards = {
    card("Defects that pass", html.percent(a.pass.value), limits(a.pass), true),
    card("Good pieces that are rejected", html.percent(a.reject.value), limits(a.reject)),
  }
  local worst = a.kinds[1]
  if worst then
    local others = {}
    for k = 2, #a.kinds do
      others[#others + 1] = ("%s %s"):format(html.name(a.kinds[k].name), html.percent(a.kinds[k].value))
    end
    cards[3] = card("Missed most often", worst.value > 0 and html.spaced(worst.name) or "none",
      ("%s pass (%d of %d%s)%s%s"):format(html.percent(worst.value), worst.hits, worst.images,
        worst.groups == 1 and ", all of one group" or "", #others > 0 and "; " or "", table.concat(others, ", ")), true)
  end
  if a.ask > 0 then
    cards[#cards + 1] = card("Left to a person", html.percent(a.ask), "of the images, whose score is in doubt")
  end
  local of = a.groups and (" of %d groups (photographs, rolls)"):format(a.groups) or ""
  return screen(("%s: %d images%s. %s%s"):format(a.item.name, a.item.result.images, of, decided(a.point), cautions(a)),
    cards, a.point and a.point.warning)
end

return answers
