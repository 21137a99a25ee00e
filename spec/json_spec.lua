--- JSON: what goes out comes back, and damaged text gives a message.
local json = require "texres.json"

describe("json", function()
  it("writes arrays, objects with sorted names, and every kind of value", function()
    assert.equal('{"a":[1,2.5,true,"x"],"b":{"c":false}}',
      json.encode { b = { c = false }, a = { 1, 2.5, true, "x" } })
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(setmetatable({}, { __jsontype = "array" })))
    assert.equal('{"z":1,"a":2}', json.encode(setmetatable({ a = 2, z = 1 }, { __jsonorder = { "z" } })))
  end)

  it("keeps integers and all digits of other numbers", function()
    for _, value in ipairs { 0, -7, math.maxinteger, math.mininteger, 0.1, 1 / 3, 1e300, 5e-324, -2.0, 2 ^ 53 } do
      local back = json.decode(json.encode { value })[1]
      assert.equal(value, back)
      assert.equal(math.type(value), math.type(back))
    end
  end)

  it("escapes and unescapes strings", function()
    local text = 'quote " backslash \\ newline \n tab \t zero \0 snow \u{2603} face \u{1F600}'
    assert.equal(text, json.decode(json.encode(text)))
    assert.equal("\u{1F600}/\u{e9}", json.decode [["\ud83d\ude00\/\u00e9"]])
  end)

  it("reads white space, nested values and null", function()
    assert.same({ a = { 1, { b = {} } }, c = "" }, json.decode ' { "a" : [ 1 , {"b":{}} ] ,\r\n\t"c":"" } ')
  end)

  it("brings back what JSON lacks, and stays JSON", function()
    local text = json.encode { 0 / 0, math.huge, -math.huge, { loss = 0 / 0 }, 1 }
    assert.equal('[null,1e999,-1e999,{"loss":null},1]', text)
    local back = json.decode(text)
    assert.equal(5, #back)
    for _, value in ipairs { back[1], back[4].loss } do assert.is_true(value ~= value) end
    assert.same({ math.huge, -math.huge, 1 }, { back[2], back[3], back[5] })
    assert.equal(3, #json.decode "[null,null,null]")
  end)

  it("brings back names that are not UTF-8", function()
    for _, name in ipairs { "Fl\xe4che", "\xff\xfe", "a\xc3", "\xed\xb2\x80", "\xe4\u{e4}\xe4", "\x80\n\"" } do
      local text = json.encode { [name] = { name } }
      assert.is_truthy(utf8.len(text))
      assert.same({ [name] = { name } }, json.decode(text))
    end
    assert.equal('["Fl\\udce4che"]', json.encode { "Fl\xe4che" })
  end)

  it("does not take names that stand twice", function()
    for _, text in ipairs { '{"a":1,"a":1}', '{"a":null,"a":2}', '{"a":1,"b":{},"\\u0061":2}', '[{"":1,"":2}]' } do
      local value, message = json.decode(text)
      assert.is_nil(value)
      assert.matches("stands twice at line 1, byte", message, 1, true)
    end
  end)

  it("reads as much as it was told to", function()
    local text = "[" .. ("[],"):rep(1000) .. "[]]"
    assert.equal(1001, #json.decode(text))
    local value, message = json.decode(text, 100)
    assert.is_nil(value)
    assert.matches("3004 bytes of JSON: at most 100 are read; max_bytes raises that", message, 1, true)
    assert.matches("max_bytes", select(2, json.decode((" "):rep((16 << 20) + 1))), 1, true)
  end)

  it("makes no more of a short text than it was told to", function()
    local short = "[" .. ("1,"):rep(1 << 20) .. "1]"
    local value, message = json.decode(short)
    assert.is_nil(value)
    assert.matches("JSON of more than 1048576 values and names: max_bytes raises that, 16 for each", message, 1, true)
    assert.equal((1 << 20) + 1, #json.decode(short, 32 << 20))
    assert.is_nil((json.decode('{"a":[1,2,3]}', 16 * 5)))
    assert.same({ a = { 1, 2, 3 } }, json.decode('{"a":[1,2,3]}', 16 * 6))
  end)

  it("says why a table is neither a list nor an object", function()
    local list = { __jsontype = "array" }
    for message, value in pairs {
      ["a list of 2 items has one at 3: it has holes"] = { 1, nil, 3 },
      ["a list of 1 items has one at 5: it has holes"] = setmetatable({ [5] = "x" }, list),
      ["a list has other keys than 1..n"] = setmetatable({ 1, x = 2 }, list),
      ["a table has both names and the key 1"] = { 1, x = 2 },
      ["a table has the key 0, which is neither a name nor one of 1..n"] = { [0] = "x" },
      ["a table has the key 1.5, which is neither a name nor one of 1..n"] = { [1.5] = "x" },
    } do
      local text, problem = json.encode { inside = value }
      assert.is_nil(text)
      assert.equal(message, problem)
    end
  end)

  it("hands on what is not about the data", function()
    local stop = {}
    local value = setmetatable({}, { __pairs = function() error(stop) end })
    local ok, problem = pcall(json.encode, value)
    assert.is_false(ok)
    assert.equal(stop, problem)
  end)

  local damaged = { "", "{", "[1,", "[1 2]", '{"a" 1}', "{a:1}", '"x', '"\\q"', '"\\u12"', '"\\ud800x"', "tru", "01",
    "1.", "1.e5", "--1", "+1", "[1],", "nan", '"a\nb"', "'a'", "[1,]" }
  for _, text in ipairs(damaged) do
    it("gives nil and a message for " .. ("%q"):format(text), function()
      local value, message = json.decode(text)
      assert.is_nil(value)
      assert.is_string(message)
    end)
  end

  it("refuses what is nested too deeply, and what JSON can't hold", function()
    local value, message = json.decode(("["):rep(100000))
    assert.is_nil(value)
    assert.matches("nested too deeply", message)
    value, message = json.encode { print }
    assert.is_nil(value)
    assert.matches("function", message)
    local loop = {}
    loop.loop = loop
    assert.matches("nested too deeply", select(2, json.encode(loop)))
  end)
end)
