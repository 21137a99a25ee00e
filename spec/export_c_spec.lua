--- A classifier as one C file: it compiles without a warning for several machines, and gives what the library gives.
--
-- Compilers for other machines, and qemu-user that runs what they make, are used where they are installed.
local tr = require "texres"
local cases = require "spec.export_cases"
local support = require "spec.support"
local core = require "texres.core"
local input = require "texres.input"
local quantize_nn = require "texres.nn.quantized"
local nn = tr.nn
local noise, of, point, quantized, textile = cases.noise, cases.of, cases.point, cases.quantized, cases.textile

local WARNINGS = { "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror" }

-- Machines: a compiler, and what runs its programs.
local MACHINES = {
  { "cc", {} },
  { "aarch64-linux-gnu-gcc", { "qemu-aarch64" } },
  { "arm-linux-gnueabihf-gcc", { "qemu-arm" } },
}

local folder = support.folder()

local function is_there(program) return (support.run { "sh", "-c", "command -v " .. program }) end

local function words(...)
  local list = {}
  for _, part in ipairs { ... } do
    for _, word in ipairs(type(part) == "table" and part or { part }) do list[#list + 1] = word end
  end
  return list
end

-- Compiles a file of C for a machine: the words that run it.
local function compile(machine, path, ...)
  local program = path .. ".out"
  local static = machine[1] ~= "cc" and "-static" or {}
  local ok, told = support.run(words(machine[1], WARNINGS, static, { ... }, path, "-o", program, "-lm"))
  assert(ok, told)
  return words(machine[2], program)
end

local there, missing = {}, {}
for _, machine in ipairs(MACHINES) do
  local runner = machine[2][1]
  if is_there(machine[1]) and (not runner or is_there(runner)) then
    there[#there + 1] = machine
  else
    missing[#missing + 1] = machine[1]
  end
end

-- Calls test(machine) for each machine that is there.
local function on_each(test)
  for _, machine in ipairs(there) do test(machine) end
end

-- Ends a test that has tried all machines: where one is missing it is pending.
local function tell_missing(pending)
  if #missing > 0 then pending("not tried, as it is not installed: " .. table.concat(missing, ", ")) end
end

local AWKWARD = { "good", "a*/b", "what??/", 'quo"te\\', "größer" }

-- -- programs ---------------------------------------------------------------------------------------------------------

-- Reads images from standard input, and tells of each the class, the scores, the probabilities and what else is asked.
local DRIVER = [[
#include "%s"
#include <stdio.h>
int main(void)
{
  static uint8_t image[%d];
  while (fread(image, sizeof image, 1, stdin) == 1) {
    float scores[CLASSES], p[CLASSES];
    int k;
    printf("%%d", %sclassify(image, scores));
    %sprobabilities(scores, p);
    for (k = 0; k < CLASSES; k++) printf(" %%.9g", (double)scores[k]);
    for (k = 0; k < CLASSES; k++) printf(" %%.9g", (double)p[k]);
    %s
    printf("\n");
  }
  return %sclassify(0, 0) != -1 || %sclassify(image, 0) != -1;
}
]]

-- What the program tells of images, a list of numbers for each.
local function ask(machine, path, images, prefix, more, ...)
  prefix = prefix or ""
  local bytes, driver = images:numel() // images:size(1), path:gsub("%.c$", "_driver.c")
  support.write_file(driver, DRIVER:format(path, bytes, prefix, prefix, more or "", prefix, prefix))
  local list = images:reshape(-1):to("f32"):totable()
  for i, value in ipairs(list) do list[i] = string.char(math.tointeger(value)) end
  support.write_file(path .. ".images", table.concat(list))
  local program = compile(machine, driver, "-O3", ...)
  local ok, told = support.run(words("sh", "-c", '"$@" <' .. path .. ".images", "sh", program))
  assert(ok, told)
  local answers = {}
  for line in told:gmatch "[^\n]+" do
    local answer = {}
    for number in line:gmatch "%S+" do answer[#answer + 1] = tonumber(number) end
    answers[#answers + 1] = answer
  end
  return answers
end

local function logits_of(one, images)
  return core.no_grad(function() return one.model(input.of(one.model):batch(images, "spec")):totable() end)
end

local function assert_same(one, images, answers)
  local count = #images:shape() > 0 and images:size(1)
  assert.equal(count, #answers)
  local logits, predictions = logits_of(one, images), one:predict(images)
  for i, answer in ipairs(answers) do
    local most = 1
    for _, own in ipairs(logits[i]) do most = math.max(most, math.abs(own)) end
    assert.equal(predictions[i].label - 1, answer[1])
    for k, own in ipairs(logits[i]) do
      assert.near(own, answer[1 + k], 1e-4 * most)
      assert.near(predictions[i].probabilities[k], answer[1 + #logits[i] + k], 1e-4)
    end
  end
end

describe("a classifier as a C file", function()
  it("gives what the library gives, on each machine", function()
    for name, one in pairs {
      all = cases.all_layers(AWKWARD), w10 = textile(10, "mean_max"), w16 = textile(16, "conv"),
    } do
      local path = ("%s/%s.c"):format(folder, name)
      assert(one:export_c(path))
      local images = noise(one.input, 5)
      on_each(function(machine) assert_same(one, images, ask(machine, path, images)) end)
    end
    tell_missing(pending)
  end)

  it("tests itself, and says what differs", function()
    local path = folder .. "/self.c"
    local one = cases.all_layers(AWKWARD)
    assert(one:export_c(path, { images = noise(one.input, 2) }))
    on_each(function(machine)
      local ok, told = support.run(compile(machine, path, "-O2", "-DTEXRES_SELF_TEST"))
      assert.is_true(ok, told)
      assert.matches("image 2: .- scores within %S+ of the library's: pass\npass\n$", told)
    end)
    local text = support.read_file(path)
    local changed, count = text:gsub("(float bias_%d+%[%d+%] = {\n  )[^,]+", "%19")
    assert.is_true(count > 0)
    support.write_file(path, changed)
    local ok, told, status = support.run(compile(MACHINES[1], path, "-DTEXRES_SELF_TEST"))
    assert.is_false(ok)
    assert.equal(1, status)
    assert.matches("image 1: .-: FAIL\n  wanted [^\n]+\n  wanted [^\n]+\n  got [^\n]+\n.*\nFAIL\n$", told)
  end)

  it("knows the operating point, under the names that are wanted", function()
    local one = textile(4, "gap", { normalization = { mean = 0.5, std = 0.25 } })
    local images = noise(one.input, 12)
    local scores = {}
    one:set_operating_point(point(0.5))
    for i, answer in ipairs(one:predict(images)) do scores[i] = answer.defect_score end
    table.sort(scores)
    local low, high = 0.5 * (scores[4] + scores[5]), 0.5 * (scores[8] + scores[9])
    local verdicts = { accept = 0, reject = 1, ask = 2 }
    for _, given in ipairs { point(low), point(0.5, { low = low, high = high, share = 0.3 }) } do
      one:set_operating_point(given)
      local path = folder .. "/point.c"
      assert(one:export_c(path, { prefix = "fabric_" }))
      local answers = ask(MACHINES[1], path, images, "fabric_",
        'printf(" %d %.9g", fabric_verdict(scores), fabric_defect_score(scores));')
      for i, answer in ipairs(one:predict(images)) do
        assert.equal(verdicts[answer.verdict], answers[i][14])
        assert.near(answer.defect_score, answers[i][15], 1e-5)
      end
    end
    assert(one:export_c(folder .. "/none.c", { operating_point = false }))
    assert.is_nil(support.read_file(folder .. "/none.c"):find "verdict")
  end)

  it("takes bytes for what they were worth in training", function()
    for _, white in ipairs { 255, 65535, 100 } do
      local one = textile(4, "gap", { white = white, normalization = { mean = 0.4 * white, std = 0.2 * white } })
      local path = ("%s/white.c"):format(folder)
      assert(one:export_c(path))
      local images = noise(one.input, 2)
      assert_same(one, images, ask(MACHINES[1], path, images))
    end
  end)

  it("says what it is", function()
    local one = cases.all_layers(AWKWARD)
    assert(one:export_c(folder .. "/head.c", { note = "run 7 */" }))
    local text = support.read_file(folder .. "/head.c")
    for _, part in ipairs {
      "head.c", "9 rows of 11 pixels of 2 bytes", "0  good", "1  a* /b", "2  what? ?/", "4  größer", "all layers",
      "run 7 * /", "-DTEXRES_SELF_TEST",
    } do
      assert.is_truthy(text:find(part, 1, true), part)
    end
    assert.is_nil(text:find "alloc%(")
  end)

  it("refuses what it can't hold", function()
    local function refused(net, message, fields, options)
      fields = fields or {}
      fields.input = fields.input or { 8, 8, 1 }
      local one = of(net, fields)
      assert.error_matches(function() one:export_c(folder .. "/no.c", options) end, message)
    end
    local simple = nn.Sequential { nn.Flatten(), nn.Linear(64, 2) }
    refused(nn.Sequential { { up = nn.Upsample(2) }, nn.GlobalAvgPool() }, "export_c: the layer up %(Upsample")
    refused(nn.Sequential { nn.Conv2d(1, 2, 3) }, "the network gives {N,6,6,2}, wanted a score for each class")
    refused(simple, "gives {N,2}, wanted a score for each class, {N,3}", { classes = { "a", "b", "c" } })
    refused(simple, "export_c: the pixels of the training had no range", { white = false, input = { 8, 8, 1 } })
    local others = tr.zeros({ 1, 8, 8, 2 }):to "u8"
    refused(simple, "export_c: images are {1,8,8,2}, wanted {N,8,8,1}", nil, { images = others })
    refused(simple, 'export_c: prefix is "1x", wanted the beginning of a name in C', nil, { prefix = "1x" })
    refused(simple, "export_c: unknown option 'prefx'; did you mean prefix%?", nil, { prefx = "x" })
    local one = textile(2, "gap")
    local views = point(0.5)
    views.views = 8
    one:set_operating_point(views)
    assert.error_matches(function() one:export_c(folder .. "/no.c") end, "operating point belongs to the mean over 8")
    assert.error_matches(function() tr.Ensemble({ one, one }):export_c(folder .. "/no.c") end, "export_c: an ensemble")
    local written, message = textile(2, "gap"):export_c(folder .. "/missing/x.c")
    assert.is_nil(written)
    assert.matches("missing/x.c", message)
  end)

  it("is written by the command", function()
    local run = folder .. "/net.safetensors"
    assert(textile(2, "gap"):save(run))
    local status, told, problem = support.texres("export", "c", run, folder .. "/cmd.c", "--prefix", "own_")
    assert.equal("", problem)
    assert.equal(0, status)
    assert.matches("network: .*cmd.c\ntest it: cc .*-DTEXRES_SELF_TEST", told)
    assert.matches("int own_classify", support.read_file(folder .. "/cmd.c"))
    assert.matches("From:     net.safetensors, CRC%-32 %x+\n", support.read_file(folder .. "/cmd.c"))
    assert.matches("has 3 images of synthetic fabric, not of", support.read_file(folder .. "/cmd.c"))
    status, told, problem = support.texres("export", "c", run, folder .. "/cmd.c", "--prefix", "1")
    assert.equal("", told)
    assert.equal(2, status)
    assert.matches("%-%-prefix is 1, wanted the beginning of a name in C", problem)
  end)

  it("tests itself on images of a set", function()
    local run, set, path = folder .. "/set.safetensors", folder .. "/cloth", folder .. "/set.c"
    local one = textile(2, "gap", { normalization = { mean = 0.5, std = 0.25 } })
    assert(one:save(run))
    local images = noise({ 64, 64, 1 }, 5)
    for i, name in ipairs { "metal", "good", "good", "hole", "cut" } do
      support.run { "mkdir", "-p", set .. "/" .. name }
      assert(tr.write_png(("%s/%s/%d.png"):format(set, name, i), images:select(1, i)))
    end
    local status, told, problem = support.texres("export", "c", run, path, "--images", set .. "/")
    assert.same({ 0, "" }, { status, problem })
    assert.matches("test it: cc", told)
    local text = support.read_file(path)
    assert.matches("has 4 images of cloth\n", text)
    local first = {}
    local bytes = text:match "test_images%[TESTS%]%[%d+%] = { {(.-)}"
    for number in bytes:gmatch "%d+" do first[#first + 1] = tonumber(number) end
    assert.same(images:select(1, 2):reshape(-1):to("f32"):totable(), first) -- the first good one
    local passed, said = support.run(compile(MACHINES[1], path, "-DTEXRES_SELF_TEST"))
    assert.is_true(passed, said)
    assert.matches("image 4: [^\n]+: pass\npass\n$", said)
  end)

  it("says what of the command line is wrong", function()
    local run = folder .. "/wrong.safetensors"
    assert(textile(2, "gap"):save(run))
    local out = folder .. "/wrong.out"
    local function refused(message, ...)
      local status, told, problem = support.texres("export", ...)
      assert.same({ 1, "" }, { status, told })
      assert.matches(message, problem)
      assert.is_nil((io.open(out)))
    end
    refused("%-%-images is for c and lua, which have a self%-test", "onnx", run, out, "--images", folder)
    refused("%-%-prefix is for c: other files have no names in C", "lua", run, out, "--prefix", "x")
    refused("this is the network itself: name another file", "c", run, run)
    assert(tr.load(run))
    support.run { "ln", "-s", run, folder .. "/link.onnx" }
    refused("link.onnx: this is the network itself", "onnx", run, folder .. "/link.onnx")
    local small = folder .. "/wrong8.safetensors"
    assert(quantized(textile(2, "gap")):save(small))
    refused("a network in 8 bits is for c and lua, not for onnx", "onnx", small, out)
    refused("nowhere: ", "c", run, out, "--images", folder .. "/nowhere")
  end)
end)

describe("a quantized classifier as a C file", function()
  -- Compares bits: nine digits tell a float from all others.
  local function assert_bits(one, images, answers)
    local logits = logits_of(one, images)
    assert.equal(images:size(1), #answers)
    for i, answer in ipairs(answers) do
      for k, own in ipairs(logits[i]) do
        assert.equal(("%.9g"):format(own), ("%.9g"):format(answer[1 + k]))
      end
    end
  end

  it("gives the library's bits, on each machine", function()
    for name, one in pairs { bytes = cases.integer_layers(AWKWARD), b16 = textile(16, "conv") } do
      local path = ("%s/%s.c"):format(folder, name)
      local small = quantized(one)
      assert(small:export_c(path))
      local images = noise(one.input, 4)
      on_each(function(machine)
        assert_bits(small, images, ask(machine, path, images, nil, nil, "-std=gnu99")) -- which joins products and sums
      end)
    end
    local one = quantized(textile(16, "mean_max"))
    local path, images = folder .. "/native.c", noise(one.input, 4)
    assert(one:export_c(path))
    for _, flags in ipairs { "-O2", "-march=native" } do
      assert_bits(one, images, ask(MACHINES[1], path, images, nil, nil, flags, "-ffp-contract=fast"))
    end
    tell_missing(pending)
  end)

  it("gives them where means of windows at the edge are halves", function()
    tr.manual_seed(7)
    local pool = nn.AvgPool2d(3, { stride = 1, padding = 1, count_include_pad = false })
    local net = nn.Sequential { nn.Conv2d(1, 64, 1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(9 * 64, 3) }
    local one = quantized(of(net, { input = { 3, 3, 1 }, classes = { "a", "b", "c" } }))
    local section = one.model._description.sections[1]
    local step = section.steps[3]
    assert.equal("avg_pool", step.op)
    local from = section.values[step.input]
    for value = step.output, step.output + 1 do
      section.values[value].scale, section.values[value].zero = from.scale, from.zero
    end
    local path, images = folder .. "/halves.c", noise(one.input, 64)
    assert(one:export_c(path))
    assert_bits(one, images, ask(MACHINES[1], path, images))
  end)

  it("is refused where it is of a description that lies", function()
    local path = folder .. "/other.c"
    local function refuses(message, change)
      local one = quantized(textile(32, "gap"))
      change(one.model._description.sections, one.model.tensors)
      assert.error_matches(function() one:export_c(path) end, message)
    end
    refuses("value 3: shape must be a list, got true", function(s) s[1].values[3].shape = true end)
    refuses("values must be a list, got nil", function(s) s[1].values = nil end)
    refuses("step 2: groups must be an integer", function(s) s[1].steps[2].groups = nil end)
    refuses("export_c: the network has 2 sections, wanted one in 8 bits", function(s) s[2] = s[1] end)
    local bytes = { dtype = "u8" }
    local few = quantize_nn.of("minmax", { {
      values = {
        { shape = { 8, 8, 1 } }, { scale = 1, zero = 0, shape = { 8, 8, 1 } },
        { scale = 1, zero = 0, shape = { 8, 8, 2 } }, { scale = 1, zero = 0, shape = { 8, 8, 8 } },
        { scale = 1, zero = 0, shape = { 8 } }, { shape = { 8 } },
      },
      steps = {
        { op = "quantize", input = 1, output = 2 }, { op = "cat", inputs = { 2, 2 }, output = 3 },
        {
          op = "conv", method = "winograd", input = 3, output = 4, kernel = { 3, 3 }, channels = { 2, 8 },
          stride = { 1, 1 }, padding = { 1, 1, 1, 1 }, dilation = { 1, 1 }, groups = 1,
        },
        { op = "global_max_pool", input = 4, output = 5 }, { op = "dequantize", input = 5, output = 6 },
      },
      output = 6,
    } }, { {
      ["step.3.weight"] = tr.zeros({ 36, 2, 8, 2 }, bytes), ["step.3.factor"] = tr.zeros(36, 8),
      ["step.3.shift"] = tr.zeros(8),
    } })
    assert.error_matches(function() of(few, { input = { 8, 8, 1 } }):export_c(path) end,
      "export_c: a Winograd convolution has 8 output channels, wanted a multiple of 16")
  end)

  it("tests itself without a tolerance", function()
    local path = folder .. "/bytes_self.c"
    assert(quantized(textile(8, "gap")):export_c(path))
    on_each(function(machine)
      local ok, told = support.run(compile(machine, path, "-O2", "-DTEXRES_SELF_TEST"))
      assert.is_true(ok, told)
      assert.matches("scores within 0 of the library's: pass\npass\n$", told)
    end)
    local text = support.read_file(path)
    local changed, count = text:gsub("(float test_scores.-{\n  )%-?%d", "%15")
    assert.equal(1, count)
    support.write_file(path, changed)
    assert.is_false((support.run(compile(MACHINES[1], path, "-DTEXRES_SELF_TEST"))))
  end)

  it("refuses what would change its bits, and what is not in bytes", function()
    local path = folder .. "/fast.c"
    assert(quantized(textile(8, "gap")):export_c(path))
    local ok, told = support.run { "cc", "-std=c99", "-ffast-math", "-c", path, "-o", path .. ".o" }
    assert.is_false(ok)
    assert.matches("ffast%-math", told)
    tr.manual_seed(4)
    local mixed = of(nn.Sequential { nn.Conv2d(1, 4, 3), nn.Upsample(2), nn.Conv2d(4, 3, 3), nn.GlobalAvgPool() }, {
      input = { 8, 8, 1 }, classes = { "a", "b", "c" },
    })
    assert.error_matches(function() quantized(mixed):export_c(path) end,
      "export_c: the network has a step in f32, Upsample")
  end)
end)
