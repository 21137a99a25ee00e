--- Aligned columns of text.

local function width(text) return utf8.len(text) or #text end

--- Rows (lists of strings) as lines with columns padded; the columns named in `left` (a set of numbers) to the left,
-- the others to the right. A row that is a string becomes a line of that character.
return function(rows, left)
  local widths = {}
  for _, row in ipairs(rows) do
    if type(row) == "table" then
      for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, width(cell)) end
    end
  end
  local total = 2 * (#widths - 1)
  for _, w in ipairs(widths) do total = total + w end
  local lines = {}
  for _, row in ipairs(rows) do
    if type(row) == "string" then
      lines[#lines + 1] = row:rep(total)
    else
      local cells = {}
      for i, cell in ipairs(row) do
        local space = (" "):rep(widths[i] - width(cell))
        cells[i] = left[i] and cell .. space or space .. cell
      end
      lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
    end
  end
  return table.concat(lines, "\n")
end
