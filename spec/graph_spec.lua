--- nn.Graph: items whose wiring is data.
local tr = require "texres"
local nn = tr.nn

describe("Graph", function()
  local function graph(steps) return nn.Graph { nn.Tanh(), nn.Linear(2, 2), steps = steps } end

  it("does its steps, and is rebuilt from its description", function()
    local steps = { { item = 1, value = 1 }, { item = 2, value = 2 }, { sum = { 3, 1 } }, { cat = { 4, 2 } },
      { multiply = { 5, 5 } }, { subtract = { 6, 5 } } }
    local net, x = graph(steps), tr.randn(3, 2)
    local y = net[1](x)
    local joined = tr.cat({ net[2](y) + x, y }, -1)
    local want = joined * joined - joined
    assert.is_true(tr.allclose(net(x), want, 0, 0))
    local json = require "texres.json"
    local twin = nn.from_config(json.decode(json.encode(net:config())))
    twin:load_state_dict(net:state_dict())
    assert.is_true(tr.allclose(twin(x), want, 0, 0))
    assert.same({ 3, 4 }, graph(steps)(x):shape())
  end)

  it("refuses what is no wiring", function()
    assert.error_matches(function() nn.Graph { nn.Tanh() } end, "Graph: steps are missing")
    assert.error_matches(function() graph(3) end, "Graph: steps is 3, wanted a list")
    for _, step in ipairs {
      3, {}, { item = 3, value = 1 }, { item = 1, value = 2 }, { item = 1 }, { sum = { 1 } }, { sum = { 1, 2 } },
      { sum = { 1, 1, 1 } }, { multiply = { 1 } },
      { subtract = { 1, 1, 1 } }, { cat = {} }, { cat = { 0 } }, { cat = 1 }, { item = "1", value = 1 },
    } do
      assert.error_matches(function() graph { step } end, "Graph: step 1 is none of")
    end
  end)
end)
