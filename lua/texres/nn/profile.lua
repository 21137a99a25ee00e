--- module:profile(x, {backward=false, repeats=3}): where the time goes.
--
-- Runs a copy of the module on x and measures each step of its plan (see texres.nn.plan: a layer, or several that are
-- done together) by itself on the input that it got: the median of `repeats` calls, with {backward=true} also of its
-- backward pass. Layers that a forward of your own calls are measured too. Returns a list of rows
--
--     { name=, layer=, algorithm=, seconds=, backward_seconds=, gflops=, backward_gflops=, bytes=, share= }
--
-- which prints as a table. GFLOP/s count a multiply-add as 2 operations, backward as twice the forward; bytes are
-- those of inputs, output and state; share is the row's part of all the time.

local core = require "texres.core"
local plain = require "texres.plain"
local option = require "texres.options"
local module = require "texres.nn.module"
local plan = require "texres.nn.plan"
local tensor_bytes = module.tensor_bytes
local table_text = require "texres.nn.table_text"

local function median(values)
  table.sort(values)
  return values[(#values + 1) // 2]
end

--- The step that was done, where a call of layer m stands for one of several layers.
local function step_of(inputs)
  local step = inputs[2]
  return type(step) == "table" and step.chain and step or nil
end

-- One call of layer m on these inputs: seconds forward, seconds backward (nil unless asked for).
local function time_once(m, inputs, backward)
  local args = {}
  for i = 1, inputs.n do
    args[i] = inputs[i]
    if core.is_tensor(args[i]) then
      args[i] = args[i]:detach()
      args[i].requires_grad = backward and (args[i].dtype == "f32" or args[i].dtype == "f64")
    end
  end
  local started = core.clock()
  local out
  if step_of(inputs) then
    out = plan.do_step(args[2], args[1], args[3])
  else
    out = m(table.unpack(args, 1, inputs.n))
  end
  local forward = core.clock() - started
  if not (backward and out.requires_grad) then return forward end
  local gradient = core.ones_like(out:detach())
  started = core.clock()
  out:backward(gradient)
  return forward, core.clock() - started
end

local function time_layer(m, inputs, backward, repeats)
  local forward, back = {}, {}
  for i = 1, repeats do
    local f, b = time_once(m, inputs, backward)
    forward[i] = f
    if b then back[#back + 1] = b end
  end
  m:zero_grad()
  return median(forward), #back > 0 and median(back) or nil
end

local function bytes_of(m, inputs, out)
  local bytes, step = tensor_bytes(out), step_of(inputs)
  for i = 1, inputs.n do
    if core.is_tensor(inputs[i]) then bytes = bytes + tensor_bytes(inputs[i]) end
  end
  for _, part in ipairs(step and step.chain or { { item = m } }) do
    for _, t in pairs(part.item and part.item:state_dict() or {}) do bytes = bytes + tensor_bytes(t) end
  end
  return bytes
end

local Profile = {}
Profile.__index = Profile

function Profile:__tostring()
  local head = { "name", "layer", "algorithm", "forward ms", "GFLOP/s" }
  if self.backward then head[6], head[7] = "backward ms", "GFLOP/s" end
  table.move({ "MB", "share" }, 1, 2, #head + 1, head)
  local lines, total = { head, "-" }, 0
  for _, row in ipairs(self) do
    local line = {
      row.name, row.layer, row.algorithm or "", plain.format("%.3f", row.seconds * 1e3),
      plain.format("%.1f", row.gflops),
    }
    if self.backward then
      line[6] = plain.format("%.3f", (row.backward_seconds or 0) * 1e3)
      line[7] = plain.format("%.1f", row.backward_gflops or 0)
    end
    line[#line + 1] = plain.format("%.2f", row.bytes / 1e6)
    line[#line + 1] = plain.format("%.1f%%", 100 * row.share)
    lines[#lines + 1] = line
    total = total + row.seconds + (row.backward_seconds or 0)
  end
  return plain.format("%s\nall layers: %.3f ms", table_text(lines, { true, true, true }), total * 1e3)
end

return function(self, x, options)
  local o = option.read("profile", options, {
    backward = option.switch(false), repeats = option.integer(3, "[1, inf)"),
  })
  option.check("profile", "x", x, option.TENSOR)
  local model = self:clone()
  local names, calls = {}, {}
  for name, m in model:named_modules() do names[m] = name end
  local function watch(m, _, inputs, outputs)
    local is_layer = #m:children() == 0 and core.is_tensor(inputs[1]) and core.is_tensor(outputs[1])
    if is_layer then calls[#calls + 1] = { m, inputs, outputs[1] } end
  end
  core.no_grad(function()
    module.watch(watch, function() model(x) end, true)
  end)
  local rows, total = { backward = o.backward }, 0
  for i, entry in ipairs(calls) do
    local m, inputs, out = entry[1], entry[2], entry[3]
    local step = step_of(inputs)
    local forward, backward
    local function measure() forward, backward = time_layer(m, inputs, o.backward, o.repeats) end
    if o.backward then measure() else core.no_grad(measure) end
    local operations = 2 * m:multiply_adds(inputs[1], out)
    rows[i] = {
      name = step and plan.layer_names(step, names) or names[m], layer = step and plan.describe(step) or m:describe(),
      algorithm = m:algorithm(inputs[1]),
      seconds = forward, backward_seconds = backward,
      gflops = operations / forward / 1e9, backward_gflops = backward and 2 * operations / backward / 1e9,
      bytes = bytes_of(m, inputs, out),
    }
    total = total + forward + (backward or 0)
  end
  for _, row in ipairs(rows) do row.share = (row.seconds + (row.backward_seconds or 0)) / total end
  return setmetatable(rows, Profile)
end
