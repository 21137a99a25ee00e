--- A training that is killed at any moment goes on as if it had not been: the tensors of last.safetensors and of the
-- best weights are, bit for bit, those of a run that was never stopped, and so is what was watched. TEXRES_KILLS=50
-- makes a soak of it.
local support = require "spec.support"
local core = require "texres.core"
local safetensors = require "texres.safetensors"

local KILLS = math.tointeger(tonumber(os.getenv "TEXRES_KILLS")) or 5

local SCRIPT = [[
local tr = require "texres"
tr.set_num_threads(1)
tr.manual_seed(3)
local nn = tr.nn
local model = nn.Sequential {
  nn.Conv2d(1, 8, 3, { padding = 1, bias = false }), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.GlobalAvgPool(),
  nn.Linear(8, 6),
}
local set = tr.data.fabric { count = 240, size = 16, seed = 2 }
local train, val = set:split { 0.8, 0.2, seed = 1, group = "source" }
tr.Trainer({
  model = model, optimizer = { "adamw", lr = 0.01 }, schedule = { "one_cycle" }, epochs = 12, batch = 8, seed = 4,
  augment = { "flip", "noise" }, ema = 0.9, accumulate = 2, best_k = 2, save_every = "3 ms", dir = arg[1], quiet = true,
  resume = true, watch = { every = 5 },
}):fit(train, val)
]]

local function tensors_of(path)
  local tensors = assert(safetensors.load(path))
  local all = {}
  for name, t in pairs(tensors) do all[name] = { t.dtype, t:flatten():totable() } end
  return all
end

describe("kill -9", function()
  it(("at %d moments changes no tensor of a training"):format(KILLS), function()
    local folder = support.folder()
    local script = folder .. "/train.lua"
    support.write_file(script, SCRIPT)
    local lua = os.getenv "TEXRES_LUA" or "lua5.4"
    local started = core.clock()
    assert(os.execute(("%s %s %s/whole"):format(lua, script, folder)))
    local seconds = core.clock() - started
    local killed, state, cut = 0, 12345, folder .. "/cut"
    local function check() -- a run that has come to its end
      for _, name in ipairs { "/last.safetensors", "/best.safetensors" } do
        assert.same(tensors_of(folder .. "/whole" .. name), tensors_of(cut .. name))
      end
      assert.equal(support.read_file(folder .. "/whole/watch.jsonl"), support.read_file(cut .. "/watch.jsonl"))
      assert.same(core.list_folder(folder .. "/whole"), core.list_folder(cut)) -- nothing half written is left
    end
    while killed < KILLS do
      state = (state * 1103515245 + 12345) % 2147483648
      local after = seconds * (0.15 + 0.5 * state / 2147483648)
      local command = ("timeout --foreground -s KILL %.3f %s %s %s 2>%s/errors"):format(after, lua, script, cut, folder)
      local _, _, code = os.execute(command)
      local ended = code == 0 or code == 124 -- timeout's answer where it ended just as it was to be killed
      assert.is_true(ended or code == 137 or code == 9, ("%s: %s"):format(code, support.read_file(folder .. "/errors")))
      if ended then -- before it could be killed: the next one begins anew
        check()
        assert(os.execute("rm -r " .. cut))
      else
        killed = killed + 1
      end
    end
    assert(os.execute(("%s %s %s"):format(lua, script, cut)))
    check()
  end)
end)
