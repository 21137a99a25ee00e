--- The history of a training: a list of records, one for each epoch, that print() shows as a table.
--
-- It is a plain list: { { epoch = 1, lr =, loss =, accuracy =, val_loss =, val_accuracy =, seconds =,
-- images_per_second =, skipped = (how many images could not be read; nil: none) }, ... }.

local listing = require "texres.listing"
local plain = require "texres.plain"
local table_text = require "texres.nn.table_text"
local terminal = require "texres.terminal"

local history = {}

--- The loss that an epoch is judged by; nil where it is NaN.
local function loss_of(entry)
  local loss = entry.val_loss or entry.loss
  return loss == loss and loss or nil
end

--- Whether an epoch is better than the best one so far (nil: none): by validation accuracy, among equals by validation
-- loss; without a validation by loss. One whose loss is NaN is worse than any other, and than none.
function history.is_better(entry, best)
  local loss, least = loss_of(entry), best and loss_of(best)
  if not loss then return false end
  if not least then return true end
  if entry.val_accuracy ~= best.val_accuracy then return entry.val_accuracy > best.val_accuracy end
  return loss < least
end

--- The number of the best epoch of a history; 0 where none is.
function history.best_epoch(list)
  local best
  for _, entry in ipairs(list) do
    if history.is_better(entry, best) then best = entry end
  end
  return best and best.epoch or 0
end

--- An epoch in words: "epoch 4, loss 0.2110, accuracy 93.1 %".
function history.text(entry)
  local val = entry.val_loss and "val " or ""
  return plain.format("epoch %d, %sloss %.4f, %saccuracy %s", entry.epoch, val, entry.val_loss or entry.loss, val,
    plain.percent(entry.val_accuracy or entry.accuracy))
end

local COLUMNS = { "epoch", "lr", "loss", "accuracy", "val loss", "val accuracy", "images/s", "time" }

local function cell(format, value) return type(value) == "number" and plain.format(format, value) or "-" end

local function percent(value) return type(value) == "number" and plain.percent(value) or "-" end

local function row_of(entry, best)
  return {
    tostring(entry.epoch), cell("%.3g", entry.lr), cell("%.4f", entry.loss), percent(entry.accuracy),
    cell("%.4f", entry.val_loss), percent(entry.val_accuracy), cell("%.0f", entry.images_per_second),
    type(entry.seconds) == "number" and terminal.duration(entry.seconds) or "-", entry == best and "best" or "",
  }
end

local function as_text(list)
  local best = list[history.best_epoch(list)]
  local head = ("history of %d epoch%s"):format(#list, #list == 1 and "" or "s")
  if #list == 0 then return head end
  local rows = listing(#list, function(i) return row_of(list[i], best) end, { "..." })
  table.insert(rows, 1, COLUMNS)
  return ("%s%s\n%s"):format(head, best and "; best: " .. history.text(best) or "", table_text(rows, { [9] = true }))
end

local History = { __tostring = as_text }

--- Makes a list of records a history, and hands it back.
function history.of(list) return setmetatable(list, History) end

return history
