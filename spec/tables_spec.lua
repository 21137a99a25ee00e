--- Tables of what is known of samples: to which sample a row belongs, of which type a column is, what is no name.
local tr = require "texres"
local support = require "spec.support"

local folder = support.folder()

--- A CSV file of a heading and rows.
local function csv(name, heading, rows)
  return support.write_file(folder .. "/" .. name, heading .. "\n" .. table.concat(rows, "\n") .. "\n")
end

local function refuses(set, message, ...)
  assert.is_nil(set)
  for _, part in ipairs { ... } do assert.matches(part, message, 1, true) end
end

--- A set of .npy images with a row of a table each.
local function open_rows(heading, rows, options)
  local images = folder .. "/rows.npy"
  assert(tr.zeros({ #rows, 2, 2 }, { dtype = "u8" }):save_npy(images))
  local all = { images = images, labels = csv("rows_table.csv", heading, rows) }
  for name, value in pairs(options or {}) do all[name] = value end
  return tr.data.npy(all)
end

--- The same table as that of a list of pictures.
local function open_list(heading, rows, options)
  local full = {}
  for i, row in ipairs(rows) do
    full[i] = ("%d.png,%s"):format(i, row)
    assert(tr.write_png(("%s/%d.png"):format(folder, i), tr.zeros(2, 2)))
  end
  local all = { file = csv("list.csv", "path," .. heading, full) }
  for name, value in pairs(options or {}) do all[name] = value end
  return tr.data.csv(all)
end

describe("a table of pictures", function()
  local set = tr.data.fabric { count = 24, size = 8, seed = 4, sources = 5 }
  local pictures = support.folder() .. "/pictures"
  assert(set:save_folder(pictures))
  local lines = {}
  for line in support.read_file(pictures .. "/index.csv"):gmatch "[^\n]+" do lines[#lines + 1] = line end

  local function write(name, rows, first)
    return support.write_file(pictures .. "/" .. name, (first or lines[1]) .. "\n" .. table.concat(rows, "\n") .. "\n")
  end

  --- Whether each sample has the source of the picture that it is.
  local function check(read)
    assert.equal(#set, #read)
    for i, path in ipairs(read.meta.path) do
      assert.equal(set.meta.source[tonumber(path:match "(%d+)%.png$")], read.meta.source[i])
    end
  end

  it("is joined by path, whatever the order of its rows", function()
    local reversed = {}
    for i = #lines, 2, -1 do reversed[#reversed + 1] = lines[i] end
    write("reversed.csv", reversed)
    for _, name in ipairs { "index.csv", "reversed.csv" } do
      local path = pictures .. "/" .. name
      check(assert(tr.data.open(pictures, { meta = {}, groups = path .. ":source" })))
      check(assert(tr.data.open(pictures, { meta = {}, groups = name .. ":source" }))) -- in the folder itself
      check(assert(tr.data.open(pictures .. "/", { meta = path, groups = "source" })))
      check(assert(tr.data.folder { path = pictures, meta = path }))
      check(assert(tr.data.csv { file = pictures .. "/index.csv", groups = path .. ":source" }))
    end
    check(assert(tr.data.open(pictures)))
    check(assert(tr.data.open(pictures .. "/../pictures/.", { groups = pictures .. "/index.csv:source" })))
  end)

  it("may be columns in Lua, and stand elsewhere", function()
    local plain = assert(tr.data.csv { file = pictures .. "/index.csv" })
    local by_name = { path = plain.meta.path, source = plain.meta.source }
    check(assert(tr.data.folder { path = pictures, meta = by_name, groups = "source" }))
    for i, path in ipairs(by_name.path) do by_name.path[i] = pictures .. "/" .. path end
    check(assert(tr.data.folder { path = pictures, meta = by_name }))
    local elsewhere = csv("elsewhere.csv", lines[1], table.move(lines, 2, #lines, 1, {}))
    check(assert(tr.data.folder { path = pictures, meta = elsewhere }))
  end)

  it("is refused where rows and pictures are not the same", function()
    local rows = table.move(lines, 2, #lines, 1, {})
    local short = write("short.csv", table.move(rows, 1, #rows - 1, 1, {}))
    local extra = write("extra.csv", table.move({ "cut/99.png" .. rows[1]:match ",.*$" }, 1, 1, #rows + 1,
      table.move(rows, 1, #rows, 1, {})))
    local twice = write("twice.csv", table.move(rows, 1, 1, #rows + 1, table.move(rows, 1, #rows, 1, {})))
    local bare = write("bare.csv", set.meta.source, "source")
    for _, how in ipairs { "meta", "groups" } do
      local function open(path)
        return tr.data.folder { path = pictures, [how] = how == "meta" and path or path .. ":source" }
      end
      local none, message = open(short)
      refuses(none, message, "short.csv: 1 of 24 pictures have no row: '", "24.png'")
      none, message = open(extra)
      refuses(none, message, "extra.csv: 1 of 25 rows are of no picture: 'cut/99.png' in line 26")
      none, message = open(twice)
      refuses(none, message, "twice.csv: picture '", "stands there twice, in line 2 and in line 26")
      none, message = open(bare)
      refuses(none, message, "bare.csv: no column of paths", "(columns: 'source')")
    end
    local none, message = tr.data.folder { path = pictures, meta = { source = set.meta.source } }
    refuses(none, message, "no column of paths")
    none, message = tr.data.open(pictures, { groups = "sorce" })
    refuses(none, message, "no column 'sorce' to group by", "'source'")
  end)

  it("goes by position only where the order is the user's own", function()
    local list = assert(tr.data.csv { file = pictures .. "/index.csv" })
    local roll = {}
    for i = 1, #list do roll[i] = tostring(i) end
    csv("roll.csv", "roll", roll)
    list = assert(tr.data.csv { file = pictures .. "/index.csv", groups = folder .. "/roll.csv:roll" })
    assert.equal(24, list.meta.roll[24])
    roll[24] = nil
    csv("roll.csv", "roll", roll)
    local none, message = tr.data.csv { file = pictures .. "/index.csv", groups = folder .. "/roll.csv:roll" }
    refuses(none, message, "roll.csv: column 'roll' has 23 values, there are 24 images")
  end)

  it("may list a picture twice where it is the list itself", function()
    local rows = table.move(lines, 2, 4, 1, {})
    rows[4] = rows[1]
    local path = write("again.csv", rows)
    local list = assert(tr.data.csv { file = path, groups = path .. ":source" })
    assert.equal(4, #list)
    assert.equal(list.meta.source[1], list.meta.source[4])
  end)

  it("must list pictures", function()
    local path = support.folder() .. "/t.csv"
    support.write_file(path, "path,label\n")
    local none, message = tr.data.csv { file = path }
    assert.is_nil(none)
    assert.matches(path .. ": it lists no pictures", message, 1, true)
  end)

  it("must name a picture in each row", function()
    local none, message = tr.data.csv { file = csv("no_path.csv", "path,label", { "1.png,a", ",b" }) }
    refuses(none, message, "no_path.csv: the path in line 3 is missing")
    none, message = tr.data.csv { file = csv("no_path.csv", "picture,label", { "1.png,a" }) }
    refuses(none, message, "there is no column 'path' with paths (columns: 'label', 'picture')")
  end)
end)

describe("tables of arrays", function()
  it("go by position, with as many rows as images", function()
    local images = tr.zeros({ 3, 2, 2 }, { dtype = "u8" })
    for _, meta in ipairs { { roll = { 1, 2 } }, { roll = { 1, 2, 3, 4 } }, csv("two.csv", "roll", { "1", "2" }) } do
      local none, message = tr.data.tensors { images = images, labels = { 1, 1, 1 }, meta = meta }
      refuses(none, message, "column 'roll' has", "there are 3 images")
    end
    local set = assert(tr.data.tensors { images = images, labels = { 1, 1, 1 },
      meta = { roll = tr.tensor({ 5, 6, 7 }, { dtype = "i64" }) } })
    assert.same({ 5, 6, 7 }, set.meta.roll)
  end)

  it("must not contradict each other", function()
    local images = tr.zeros({ 2, 2, 2 }, { dtype = "u8" })
    local path = csv("other.csv", "roll,angle", { "1,0", "2,20" })
    local options = { images = images, labels = { 1, 1 }, meta = { roll = { 1, 3 } }, groups = path .. ":roll" }
    local none, message = tr.data.tensors(options)
    refuses(none, message, "two columns are named 'roll' and differ", "'3' at position 2", "'2' in line 3")
    options.meta.roll[2] = 2
    assert.same({ 0, 20 }, assert(tr.data.tensors(options)).meta.angle)
  end)

  it("hold lists of numbers, text and booleans", function()
    local images = tr.zeros({ 2, 2, 2 }, { dtype = "u8" })
    for reason, meta in pairs {
      ["column 'a' is 3, wanted a list"] = { a = 3 },
      ["value 2 is a table"] = { a = { 1, {} } },
      ["a column 1"] = { { 1, 2 } },
      ["meta is 7, wanted a path of a CSV file or a table of columns"] = 7,
    } do
      local ok, message = pcall(function() tr.data.tensors { images = images, labels = { 1, 1 }, meta = meta } end)
      assert.is_false(ok)
      assert.matches("tables_spec.lua:%d+: data: ", message)
      assert.matches(reason, message, 1, true)
    end
  end)
end)

describe("labels that are numbers, of classes called by numbers", function()
  local function open(labels, classes, from)
    local path = support.write_file(support.folder() .. "/l.csv", "label\n" .. table.concat(labels, "\n") .. "\n")
    return tr.data.tensors { images = tr.zeros(#labels, 2, 2), labels = from or path, classes = classes }
  end

  it("are their names or count them from 0, whichever is possible, and refused where both are", function()
    assert.same({ 3, 2, 1 }, assert(open({ 10, 2, 1 }, { "1", "2", "10" })).label)
    assert.same({ 1, 3, 2 }, assert(open({ 0, 2, 1 }, { "1", "2", "10" })).label)
    assert.same({ 1, 2, 2 }, assert(open({ 0, 1, 1 }, { "10", "20" })).label)
    assert.same({ 1, 2, 2 }, assert(open({ 0, 1, 1 }, { "0", "1", "2" })).label)
    assert.same({ 3, 3, 1 }, assert(open({ 3, 3, 1 }, { "1", "2", "3" })).label)
    for _, labels in ipairs { { 1, 2, 2 }, { 2, 1, 1 } } do
      local none, message = open(labels, { "1", "2", "3" })
      refuses(none, message, ("label %d in line 2 may be the class called '%d' or, counted from 0, '%d'"):format(
        labels[1], labels[1], labels[1] + 1))
    end
    for _, classes in ipairs {
      { "-1", "0", "1" }, { "1", "2", "3", "none" }, { "none", "2", "1", "0" }, { "1", "2", "2.5" },
      { "1.0", "2", "3.0" },
    } do
      local none, message = open({ 1, 1 }, classes)
      refuses(none, message, "label 1 in line 2 may be the class called '1", "counted from 0, '" .. classes[2] .. "'")
    end
    assert.same({ 1, 2, 2 }, assert(open({ -1, 1, 1 }, { "-1", "1" })).label)
    assert.same({ 2, 1, 1 }, assert(open({ 0.5, 1, 1 }, { "1", "0.5" })).label)
    assert.same({ 2, 2 }, assert(open({ 1, 1 }, { "2", "1", "0" })).label) -- either way
    assert.same({ 2, 2 }, assert(open({ 1, 1 }, { "01", "1" })).label)
    assert.same({ 2, 2 }, assert(open({ 1, 1 }, { "none", "1", "2" })).label)
    local none, message = open({ 1, 5 }, { "1", "2" })
    refuses(none, message, "label 5 in line 3: classes are 0..1")
    assert.same({ 1, 2 }, assert(open({ 0, 0 }, { "2", "1" }, { 1, 2 })).label) -- lists of a script count from 1
    local array = support.folder() .. "/Y.npy" -- and arrays from 0
    assert(tr.save_npy(array, tr.tensor({ 1, 2 }, { dtype = "i64" })))
    assert.same({ 2, 3 }, assert(open({ 0, 0 }, { "1", "2", "3" }, array)).label)
  end)
end)

describe("values that name something", function()
  local missing = { "", " ", "nan", "NaN", "-nan", "NAN", "-nan(ind)", "1.#QNAN", "-1.#IND" }

  it("are labels: none may be missing, in any reader", function()
    for _, open in ipairs { open_rows, open_list } do
      for _, nothing in ipairs(missing) do
        for _, rows in ipairs { { "0,x", "1,x", nothing .. ",x", "10,x" }, { "a,x", "b,x", nothing .. ",x", "a,x" } } do
          local none, message = open("label,other", rows)
          refuses(none, message, ".csv: the label in line 4 is missing")
        end
      end
      for _, word in ipairs { "NA", "n/a", "null", "None", "?", "-", "<NA>", "NaT", "#NA" } do
        local none, message = open("label,other", { "0,x", word .. ",x", "2,x" })
        refuses(none, message, ".csv: the label in line 3 is missing (it is '" .. word .. "')")
        local set = assert(open("label,other", { "hole,x", word .. ",x", "hole,x" })) -- among names it is one
        assert.equal(word, set.classes[set.label[2]])
      end
    end
    local images = tr.zeros({ 2, 2, 2 })
    for _, labels in ipairs { { 1, 0 / 0 }, { "a", "" }, { 1, false } } do
      local none, message = tr.data.tensors { images = images, labels = labels }
      refuses(none, message, "the label at position 2 is missing")
    end
    local none, message = tr.data.tensors { images = images, labels = tr.tensor { 1, 0 / 0 } }
    refuses(none, message, "the label at position 2 is missing (it is 'nan')")
    assert.error_matches(function() tr.data.tensors { images = images, labels = 3 } end,
      "labels is 3, wanted a list, a tensor")
    assert.error_matches(function() tr.data.tensors { images = images, labels = { 1, 1 }, classes = "a" } end,
      'data.tensors: classes is "a", wanted a table')
    assert.error_matches(function() tr.data.open(folder, "label") end, "data.open: options are a table, got string")
    none, message = tr.data.tensors { images = images, labels = { "a", 2 } }
    refuses(none, message, "label '2' at position 2 is a number, the first is a string")
  end)

  it("are groups: none may be missing", function()
    for _, open in ipairs { open_rows, open_list } do
      for _, nothing in ipairs(missing) do
        for _, roll in ipairs { "1", "1.5", "a" } do
          local none, message = open("label,roll", { "0," .. roll, "1," .. nothing }, { groups = "roll" })
          refuses(none, message, ".csv: the value of column 'roll' in line 3 is missing")
        end
      end
    end
    local images = tr.zeros({ 2, 2, 2 })
    local meta = { roll = { 1, 0 / 0 } }
    local none, message = tr.data.tensors { images = images, labels = { 1, 1 }, meta = meta, groups = "roll" }
    refuses(none, message, "the value of column 'roll' at position 2 is missing")
    local set = assert(tr.data.tensors { images = images, labels = { 1, 1 }, meta = meta })
    for _, call in ipairs {
      function() set:split { 0.5, 0.5, group = "roll" } end, function() set:leave_one_out "roll" end,
      function() set:split { column = "roll" } end, function() set:folds { 2, group = "roll" } end,
    } do
      assert.error_matches(call, "sample 2 has no value in column 'roll' %(.*nan%)")
    end
  end)

  it("are groups: samples without one leak nothing", function()
    local meta = { source = { "a", 0 / 0, false, "", "a", "b" } }
    local set = assert(tr.data.tensors { images = tr.rand(6, 8, 8), labels = { 1, 1, 1, 1, 1, 1 }, meta = meta })
    local before, said = rawget(tr, "warn"), nil
    rawset(tr, "warn", function(message) said = message end)
    local train, test = set:subset { 1, 2, 3 }, set:subset { 4, 5, 6 }
    set:folds { 6 }
    rawset(tr, "warn", before)
    assert.matches("1 of 5 groups in column 'source'", said, 1, true)
    local audit = assert(set:audit { splits = { train = train, test = test }, group = "source" })
    assert.equal(1, audit.leaks[1].groups)
    assert.equal(1, audit.leaks[1].grouped)
    assert.same({ 1, 2 }, { audit.parts[1].groups, audit.parts[2].groups })
  end)

  it("must not differ in blanks alone", function()
    local none, message = open_rows("label,x", { "good,1", "good ,1" })
    refuses(none, message, "the label 'good ' in line 3 differs from 'good' in blanks alone")
    none, message = open_rows("label,roll", { "0,a", "1, a" }, { groups = "roll" })
    refuses(none, message, "' a' in line 3 differs from 'a' in blanks alone")
    local set = assert(open_rows("Label , roll", { "good,a", "cut,b" }))
    assert.same({ "cut", "good" }, set.classes)
  end)

  it("are one column: others that hold labels must say the same", function()
    local none, message = open_rows("label,y", { "0,0", "1,1", "1,0" })
    refuses(none, message, "columns 'label' and 'y'", "in line 4", "`labels`")
    none, message = open_rows("label,class_name", { "0,a", "1,b", "1,c" })
    refuses(none, message, "column 'class_name' calls label 1 'c' in line 4")
    local set = assert(open_rows("indication_type,indication_value,label", { "b,0,x", "a,1,y" }))
    assert.same({ "b", "a" }, set.classes)
    set = assert(open_rows("indication_type,indication_value", { "b,0", "a,1" }, { classes = { "a", "b" } }))
    assert.same({ 2, 1 }, set.label) -- by name, not by number
    none, message = open_rows("Label,LABEL", { "0,1", "1,1" })
    refuses(none, message, "columns 'LABEL' and 'Label'", "in line 3")
    assert.same({ "2", "10" }, assert(open_rows("class_name,x", { "10,1", "2,1" })).classes) -- names, of digits
    set = assert(open_rows("indication_type,indication_value", { "b,0", "a,1" }, { classes = { "x", "y" } }))
    assert.same({ 1, 2 }, set.label)
  end)

  it("are named among those that there are", function()
    local none, message = open_list("label,roll", { "0,a", "1,b" }, { labels = "lable" })
    refuses(none, message, "labels = 'lable' is neither a column nor an .npy or .csv file", "'label', 'path', 'roll'")
    none, message = open_rows("label,roll", { "0,a", "1,b" }, { labels = folder .. "/rows_table.csv:lable" })
    refuses(none, message, "there is no column 'lable' (columns: 'label', 'roll')")
    local set = assert(open_rows("label,roll", { "0,a", "1,b" }, { labels = "roll",
      meta = { roll = { "y", "x" } } }))
    assert.same({ 2, 1 }, set.label)
  end)

  it("are said to be two classes where they are one number, written in two ways", function()
    for _, pair in ipairs { { "1", "1.0" }, { "7", "007" }, { "1", "+1" }, { "100", "1e2" } } do
      local path = support.folder() .. "/l.csv"
      support.write_file(path, ("label\n%s\n0\n%s\n"):format(pair[1], pair[2]))
      local before, said = rawget(tr, "warn"), ""
      rawset(tr, "warn", function(message) said = said .. message end)
      local set = assert(tr.data.tensors { images = tr.zeros(3, 4, 4), labels = path })
      rawset(tr, "warn", before)
      assert.equal(3, #set.classes)
      assert.matches(path .. ": classes '", said, 1, true)
      assert.matches("are the same number, written in two ways", said, 1, true)
      for _, name in ipairs(pair) do assert.matches("'" .. name .. "'", said, 1, true) end
    end
  end)

  it("that are numbers stand in the order of these, and holes among them are said", function()
    assert.same({ "2", "10", "0x", "9a" }, assert(open_rows("label,x", { "10,1", "0x,1", "9a,1", "2,1" })).classes)
    local before, said = rawget(tr, "warn"), nil
    rawset(tr, "warn", function(message) said = message end)
    assert.same({ 1, 4 }, assert(open_rows("label,x", { "0,1", "3,1" })).label)
    rawset(tr, "warn", before)
    assert.matches("no images of '1', '2'", said, 1, true)
  end)
end)
