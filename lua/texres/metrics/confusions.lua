--- What a network confuses most often: for results of so many classes that a matrix of them tells nothing.
--
--     confusions.MOST                    classes of a matrix that is shown whole
--     confusions.list(result, 30)        a list of { truth =, predicted =, count = }, the largest counts first

local confusions = { MOST = 40 }

function confusions.list(result, limit)
  local list = {}
  for truth, row in ipairs(result.confusion:totable()) do
    for predicted, count in ipairs(row) do
      if count > 0 and predicted ~= truth then
        list[#list + 1] = { truth = truth, predicted = predicted, count = count }
      end
    end
  end
  table.sort(list, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    if a.truth ~= b.truth then return a.truth < b.truth end
    return a.predicted < b.predicted
  end)
  return table.move(list, 1, math.min(limit, #list), 1, {})
end

return confusions
