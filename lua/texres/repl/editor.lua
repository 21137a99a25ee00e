--- Editing of a line in the terminal, with history and completion.
--
-- Why one of our own: the rock `readline` (Debian: lua-readline 3.2) is the one maintained binding. In its readline()
-- Ctrl-C drops no line, and its other interface, by callbacks, closes the stream that readline still writes to: at its
-- second prompt it crashed here. No distribution has a rock for linenoise, which knows no UTF-8 either. `rlwrap`
-- completes words of a file, not the fields of the values at hand. And none of them may be a dependency: what is here
-- works wherever the library does.
--
-- Keys are those of shells: arrows, Home, End, Ctrl-A/E/B/F, by words with Alt or Ctrl; Ctrl-H/D/K/U/W/Y, Alt-D; up and
-- down for older and newer lines, Ctrl-R to search them; Tab completes, and lists what there is; Ctrl-L clears.
--
--     local editor = Editor { keys = , write = , columns = , complete = , history = { "old", "new" } }
--     local line = editor:line("> ")       -- nil at the end of the input (Ctrl-D), false after Ctrl-C
--
--     keys()               waits for keys: their bytes, nil at the end, false after Ctrl-C
--     write(text)          to the terminal
--     columns()            its width
--     complete(text, at)   what may stand before position `at`: the position where its word begins, a list of words,
--                          and one of what is shown for each

local width = require "texres.repl.width"

local MOST = 200 -- completions that are listed

local Editor = {}
Editor.__index = Editor

-- -- characters -------------------------------------------------------------------------------------------------------

local function is_continued(byte) return byte ~= nil and byte >= 0x80 and byte < 0xC0 end

-- -- keys -------------------------------------------------------------------------------------------------------------

local CONTROL = {
  [1] = "home", [2] = "left", [4] = "delete_or_end", [5] = "last", [6] = "right", [7] = "leave", [8] = "erase",
  [9] = "complete", [10] = "enter", [11] = "cut_end", [12] = "clear", [13] = "enter", [14] = "newer", [16] = "older",
  [18] = "search", [21] = "cut_start", [23] = "cut_word", [25] = "paste", [127] = "erase",
}
local SEQUENCE = {
  ["[A"] = "older", ["[B"] = "newer", ["[C"] = "right", ["[D"] = "left", ["[H"] = "home", ["[F"] = "last",
  ["OA"] = "older", ["OB"] = "newer", ["OC"] = "right", ["OD"] = "left", ["OH"] = "home", ["OF"] = "last",
  ["[1~"] = "home", ["[7~"] = "home", ["[4~"] = "last", ["[8~"] = "last", ["[3~"] = "delete",
  ["[1;5C"] = "word_right", ["[1;5D"] = "word_left", ["[1;3C"] = "word_right", ["[1;3D"] = "word_left",
  ["b"] = "word_left", ["f"] = "word_right", ["d"] = "cut_word_right", ["\127"] = "cut_word", ["\8"] = "cut_word",
  ["[200~"] = "begin_paste", ["[201~"] = "end_paste",
}

-- Takes one more read of keys; whether there was one. What has ended the input is kept in `ended`.
function Editor:fill()
  local bytes = self.keys()
  if not bytes then
    self.ended = { bytes }
    return false
  end
  self.queue = self.queue .. bytes
  return true
end

local function take(self, pattern)
  local found = self.queue:match("^" .. pattern)
  if found then self.queue = self.queue:sub(#found + 1) end
  return found
end

-- What stands behind an escape: the name of the key, nil for one without meaning here. Escape alone is none.
local function escaped(self)
  while self.queue == "[" or self.queue:find "^%[[%d;]+$" or self.queue == "O" do
    if not self:fill() then return nil end
  end
  local sequence = take(self, "%[[%d;]*[^%d;]") or take(self, "O.") or take(self, "[%a\127\8]")
  return SEQUENCE[sequence]
end

-- The next key: the name of what it does, or "insert" and a text; nil when the input has ended.
function Editor:key()
  if self.queue == "" and not self:fill() then return nil end
  local byte = self.queue:byte()
  if byte == 27 then
    self.queue = self.queue:sub(2)
    return escaped(self) or "nothing"
  end
  if byte < 32 or byte == 127 then
    self.queue = self.queue:sub(2)
    if byte == 9 and self.pasting then return "insert", "  " end
    return CONTROL[byte] or "nothing"
  end
  return "insert", take(self, "[^\0-\31\127]+")
end

-- -- the line on the screen -------------------------------------------------------------------------------------------

-- Draws the line anew, from the row on in which it began. A terminal whose size has changed has broken the line anew.
function Editor:draw()
  local columns = math.max(self.columns(), 2)
  local began = width.place(self.drawn, columns)
  local before = self.prompt .. self.text:sub(1, self.at - 1)
  local row, right = width.place(before, columns)
  local last, behind = width.place(self.prompt .. self.text, columns)
  local parts = { "\r", began > 0 and ("\27[%dA"):format(began) or "", "\27[J", self.prompt, self.text }
  if behind == 0 and last > 0 then parts[#parts + 1] = "\r\n" end -- the cursor waits behind the last column
  parts[#parts + 1] = "\r"
  if last > row then parts[#parts + 1] = ("\27[%dA"):format(last - row) end
  if right > 0 then parts[#parts + 1] = ("\27[%dC"):format(right) end
  self.drawn = before
  self.write(table.concat(parts))
end

-- Leaves the line as it is, and goes on below it.
local function go_below(self)
  self.at = #self.text + 1
  self:draw()
  self.write "\r\n"
  self.drawn = ""
end

-- -- what keys do -----------------------------------------------------------------------------------------------------

local function is_mark(self, at)
  local character = self.text:match("^[^\x80-\xBF][\x80-\xBF]*", at)
  return character ~= nil and width.of_character(character) == 0
end

-- One character to the left or right, with the marks that stand on it.
local function left_of(self, at)
  repeat at = at - 1 until at <= 1 or not (is_continued(self.text:byte(at)) or is_mark(self, at))
  return math.max(at, 1)
end

local function right_of(self, at)
  repeat at = at + 1 until at > #self.text or not (is_continued(self.text:byte(at)) or is_mark(self, at))
  return math.min(at, #self.text + 1)
end

local function word_left_of(self, at)
  local start = self.text:sub(1, at - 1):find "[%w_\x80-\xFF]+[^%w_\x80-\xFF]*$"
  return start or 1
end

local function word_right_of(self, at)
  local _, last = self.text:find("^[^%w_\x80-\xFF]*[%w_\x80-\xFF]+", at)
  return (last or #self.text) + 1
end

-- Takes text[first, behind) out; `keep` for Ctrl-Y.
local function cut(self, first, behind, keep)
  if keep and behind > first then self.kept = self.text:sub(first, behind - 1) end
  self.text = self.text:sub(1, first - 1) .. self.text:sub(behind)
  self.at = first
end

local act = {}

function act.insert(self, text)
  self.text = self.text:sub(1, self.at - 1) .. text .. self.text:sub(self.at)
  self.at = self.at + #text
end

function act.home(self) self.at = 1 end
function act.last(self) self.at = #self.text + 1 end
function act.left(self) self.at = left_of(self, self.at) end
function act.right(self) self.at = right_of(self, self.at) end
function act.word_left(self) self.at = word_left_of(self, self.at) end
function act.word_right(self) self.at = word_right_of(self, self.at) end
function act.erase(self) cut(self, left_of(self, self.at), self.at) end
function act.delete(self) cut(self, self.at, right_of(self, self.at)) end
function act.cut_end(self) cut(self, self.at, #self.text + 1, true) end
function act.cut_start(self) cut(self, 1, self.at, true) end
function act.cut_word(self) cut(self, word_left_of(self, self.at), self.at, true) end
function act.cut_word_right(self) cut(self, self.at, word_right_of(self, self.at), true) end
function act.paste(self) act.insert(self, self.kept) end
function act.begin_paste(self) self.pasting = true end
function act.end_paste(self) self.pasting = false end

function act.clear(self)
  self.write "\27[H\27[2J"
  self.drawn = ""
end

-- To line `place` of the history, behind the last of which is what was typed.
local function recall(self, place)
  if place < 1 or place > #self.history + 1 then return end
  if self.place == #self.history + 1 then self.typed = self.text end
  self.place = place
  self.text = self.history[place] or self.typed
  self.at = #self.text + 1
end

function act.older(self) recall(self, self.place - 1) end
function act.newer(self) recall(self, self.place + 1) end

-- The place of the nearest line of the history that holds `wanted`, from `place` on to older ones; or nil.
local function find_older(self, wanted, place)
  for i = place, 1, -1 do
    if self.history[i]:find(wanted, 1, true) then return i end
  end
end

-- Shows lines that hold what is typed; another key leaves the search with the line found, and is done then.
function act.search(self)
  local prompt, wanted, found = self.prompt, "", nil
  local what, text
  repeat
    self.prompt = ("(search: %s) "):format(wanted)
    self:draw()
    what, text = self:key()
    local from = found or #self.history
    if what == "insert" then
      wanted = wanted .. text
    elseif what == "erase" then
      wanted = wanted:sub(1, utf8.offset(wanted, -1) and utf8.offset(wanted, -1) - 1 or -2)
      from = #self.history
    elseif what == "search" then
      from = from - 1
    end
    found = wanted ~= "" and find_older(self, wanted, from) or found
    if wanted ~= "" and found then
      recall(self, found)
      self.at = self.text:find(wanted, 1, true) or self.at
    end
  until what ~= "insert" and what ~= "erase" and what ~= "search"
  self.prompt = prompt
  return what
end

-- -- completion -------------------------------------------------------------------------------------------------------

local function common_start(words)
  local start = words[1]
  for _, word in ipairs(words) do
    while word:sub(1, #start) ~= start do start = start:sub(1, -2) end
  end
  return start
end

-- Lists words in columns below the line.
local function list(self, words)
  local shown, widest = table.move(words, 1, math.min(#words, MOST), 1, {}), 0
  for _, word in ipairs(shown) do widest = math.max(widest, width.of(word) + 2) end
  local across = math.max(1, self.columns() // widest)
  local down = (#shown + across - 1) // across
  local at = self.at
  go_below(self)
  for y = 1, down do
    local line = {}
    for x = 1, across do
      local word = shown[(x - 1) * down + y]
      if word then line[x] = word .. (" "):rep(x < across and widest - width.of(word) or 0) end
    end
    self.write(table.concat(line):gsub(" +$", "") .. "\r\n")
  end
  if #words > #shown then self.write(("... %d more\r\n"):format(#words - #shown)) end
  self.at = at
end

function act.complete(self)
  local from, words, shown = self.complete(self.text, self.at)
  if #words == 0 then return end
  local start = common_start(words)
  if start ~= self.text:sub(from, self.at - 1) and #start >= self.at - from then
    cut(self, from, self.at)
    act.insert(self, start)
  elseif #words > 1 then
    list(self, shown)
  end
end

-- -- lines ------------------------------------------------------------------------------------------------------------

-- What ends a line: true and the line, nil or false.
local function done(self, what)
  if what == nil then return true, self.ended[1] end
  if what == "enter" then return true, self.text end
  if what == "delete_or_end" and self.text == "" then return true, nil end
end

--- A line, without its end; nil at the end of the input, false after Ctrl-C.
function Editor:line(prompt)
  self.prompt, self.text, self.at, self.drawn = prompt, "", 1, ""
  self.place, self.typed = #self.history + 1, ""
  while true do
    self:draw()
    local what, text = self:key()
    if what == "search" then what = act.search(self) end
    local ends, line = done(self, what)
    if ends then
      if line == false then
        act.last(self)
        act.insert(self, "^C")
      end
      go_below(self)
      return line
    end
    if what == "delete_or_end" then what = "delete" end
    if act[what] then act[what](self, text) end
  end
end

return function(parts)
  return setmetatable({
    keys = parts.keys, write = parts.write, columns = parts.columns, complete = parts.complete,
    history = parts.history, queue = "", kept = "", pasting = false,
  }, Editor)
end
