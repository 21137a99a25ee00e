--- tostring(tensor), in the manner of NumPy.
local tr = require "texres"

local function shows(t, ...) assert.equal(table.concat({ ... }, "\n"), tostring(t)) end

describe("a tensor as text", function()
  it("aligns the columns and ends with dtype and shape", function()
    shows(tr.tensor { { 1, 20.5 }, { -3, 4 } }, "[[ 1.0000, 20.5000],", " [-3.0000,  4.0000]]", "f32 {2,2}")
  end)

  it("writes whole floats with a point, integers without", function()
    shows(tr.tensor { 1, -2, 30 }, "[ 1., -2., 30.]", "f32 {3}")
    shows(tr.tensor({ 1, -2, 30 }, { dtype = "i64" }), "[ 1, -2, 30]", "i64 {3}")
    shows(tr.tensor({ 0, 255 }, { dtype = "u8" }), "[  0, 255]", "u8 {2}")
    shows(tr.tensor({ math.mininteger }, { dtype = "i64" }), "[-9223372036854775808]", "i64 {1}")
  end)

  it("turns to powers of ten for very large, very small and very different numbers", function()
    shows(tr.tensor({ 1e-9, 1 }, { dtype = "f64" }), "[1.0000e-09, 1.0000e+00]", "f64 {2}")
    shows(tr.tensor { 1.5e8 }, "[1.5000e+08]", "f32 {1}")
    shows(tr.tensor({ 0.01, 1234567.8 }, { dtype = "f64" }), "[1.0000e-02, 1.2346e+06]", "f64 {2}")
    shows(tr.tensor({ 1234567.75, 0.5 }, { dtype = "f64" }), "[1234567.7500,       0.5000]", "f64 {2}")
  end)

  it("shows what is no number", function()
    shows(tr.tensor { 0 / 0, math.huge, -math.huge, 1 }, "[ nan,  inf, -inf,   1.]", "f32 {4}")
  end)

  it("shows one number, and none", function()
    shows(tr.tensor(2.5), "2.5000", "f32 {}")
    shows(tr.zeros(0, 3), "[]", "f32 {0,3}")
  end)

  it("puts empty lines between blocks of higher dimensions", function()
    shows(tr.zeros(2, 2, 2), "[[[0., 0.],", "  [0., 0.]],", "", " [[0., 0.],", "  [0., 0.]]]", "f32 {2,2,2}")
    local _, empty = tostring(tr.zeros(2, 2, 1, 1)):gsub("\n\n\n", "")
    assert.equal(1, empty)
  end)

  it("leaves out the middle of every dimension of more than a thousand elements", function()
    local text = tostring(tr.arange(1, 1001))
    shows(text, "[   1,    2,    3, ...,  999, 1000, 1001]", "i64 {1001}")
    text = tostring(tr.zeros(40, 40))
    shows(text, "[[0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],",
      " ...,", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.],", " [0., 0., 0., ..., 0., 0., 0.]]",
      "f32 {40,40}")
    assert.is_nil(tostring(tr.zeros(25, 40)):find("...", 1, true))
    assert.is_true(#tostring(tr.zeros(100, 100, 100)) < 4000)
  end)

  it("breaks lines before column 80", function()
    for line in tostring(tr.rand(4, 100)):gmatch "[^\n]+" do assert.is_true(#line <= 80, line) end
    assert.matches("\n  0%.", tostring(tr.rand(2, 20)))
  end)

  it("reads views through their strides", function()
    shows(tr.tensor { { 1, 2 }, { 3, 4 } }:transpose(1, 2), "[[1., 3.],", " [2., 4.]]", "f32 {2,2}")
    shows(tr.tensor { 7 }:expand(2, 2), "[[7., 7.],", " [7., 7.]]", "f32 {2,2}")
  end)
end)
