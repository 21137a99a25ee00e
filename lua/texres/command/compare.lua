--- texres compare: runs side by side on one page (report.compare).

local plain = require "texres.plain"
local report = require "texres.report"

return {
  summary = "Lay runs side by side on a page.",
  examples = {
    { "compare run-16 run-64 --out compare.html", "accuracy, what passes, curves, what differs in their options" },
  },
  describe = function(parser)
    parser:argument("runs", "Folders of runs."):args "2+"
    parser:option("--out", "The page. By default compare.html."):argname "FILE":default "compare.html"
      :show_default(false)
  end,
  run = function(options)
    local ok, message = report.compare(options.runs, options.out)
    if not ok then return nil, message end
    print("report: " .. plain.visible_name(options.out))
  end,
}
