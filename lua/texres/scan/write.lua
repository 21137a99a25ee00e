--- What a scan found, as text: lines for programs (jsonl), a table for a spreadsheet (csv), and one for people (table).
--
-- Each format has some of
--
--     head(told)              what comes first
--     defect(defect, told)    of a defect (texres.scan)
--     result(result, told)    of an image or a strip, after its defects
--     bad(frame, told)        of what could not be scanned: { name =, message = }
--     summary(sum, told)      of all, at the end
--
-- each of which gives a text without the last line break, or nil. `told`: { model = the hash of its file, mode =,
-- step =, novelty = whether it has one }. Defects bear the `name` that their image was given, its path.

local cells = require "texres.data.cells"
local json = require "texres.json"
local plain = require "texres.plain"

local write = {}

local function short(value) return value and plain.number(plain.format("%.6g", value)) end

-- -- jsonl ------------------------------------------------------------------------------------------------------------

-- Fields of a defect in the order in which they are written, with those of the record.
local FIELDS = {
  { "path", "name" }, { "class", "class" }, { "score", "score" }, { "peak", "peak" }, { "top", "top" },
  { "left", "left" }, { "height", "height" }, { "width", "width" }, { "area", "area" },
  { "position_mm", "position" }, { "across_mm", "across" }, { "length_mm", "length" }, { "breadth_mm", "breadth" },
  { "area_mm2", "area_mm2" }, { "points", "points" },
  { "novelty", "novelty" },
}

local function value_of(defect, field)
  local value = defect[field]
  return math.type(value) == "float" and short(value) or value
end

local function record(kind, order, values)
  table.insert(order, 1, "kind")
  values.kind = kind
  return assert(json.encode(setmetatable(values, { __jsonorder = order })))
end

local function json_of_result(kind, result, told)
  return record(kind, { "path", "height", "width", "defects" }, {
    path = result.name, height = result.height, width = result.width, defects = result.count, unknown = result.unknown,
    position = result.position, step = told.step, mode = told.mode, area_m2 = short(result.area_m2),
    points = result.points, points_per_100m2 = short(result.points_per_100m2), model = told.model,
  })
end

write.jsonl = {
  defect = function(defect)
    local order, values = {}, { unknown = defect.unknown, continues = defect.continues, continued = defect.continued }
    for i, field in ipairs(FIELDS) do order[i], values[field[1]] = field[1], value_of(defect, field[2]) end
    return record("defect", order, values)
  end,
  result = function(result, told) return json_of_result("image", result, told) end,
  bad = function(frame) return record("bad", { "path", "message" }, { path = frame.name, message = frame.message }) end,
  summary = function(sum, told) return json_of_result("summary", sum, told) end,
}

-- -- csv --------------------------------------------------------------------------------------------------------------

--- How many of the fields a table has: novelty, the last, only where a model has one.
local function columns(told) return told.novelty and #FIELDS or #FIELDS - 1 end

write.csv = {
  head = function(told)
    local titles = {}
    for i = 1, columns(told) do titles[i] = FIELDS[i][1] end
    return table.concat(titles, ",")
  end,
  defect = function(defect, told)
    local row = {}
    for i = 1, columns(told) do
      local value = value_of(defect, FIELDS[i][2])
      row[i] = cells.write(value == nil and "" or value)
    end
    return table.concat(row, ",")
  end,
}

-- -- table ------------------------------------------------------------------------------------------------------------

local function graded(result)
  if not result.area_m2 then return "" end
  return plain.format(", %.3f m2, %d points, %.1f points per 100 m2", result.area_m2, result.points,
    result.points_per_100m2)
end

local function counted(result)
  return ("%d defect%s%s"):format(result.count, result.count == 1 and "" or "s",
    result.unknown and (", %d unknown"):format(result.unknown) or "")
end

write.table = {
  defect = function(defect) return "  " .. tostring(defect) end,
  result = function(result)
    return plain.format("%s: %s%s", plain.visible_name(result.name), counted(result), graded(result))
  end,
  summary = function(sum) return plain.format("all: %s%s", counted(sum), graded(sum)) end,
}

return write
