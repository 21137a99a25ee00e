--- texres quantize: a network in 8 bits, for faster inference (classifier:quantize), and what that does to its answers.

local arguments = require "texres.command.arguments"
local option = require "texres.options"
local plain = require "texres.plain"
local quantize = require "texres.quantize"

--- How many of the images get the same class from both.
local function agreement(a, b)
  return a.scores:argmax(2):eq(b.scores:argmax(2)):to("f64"):mean():item()
end

local function row(name, result)
  return plain.format("%-6s  accuracy %.2f %%, loss %.4f", name, 100 * result.accuracy, result.loss)
end

return {
  summary = "Bring a trained network to 8 bits, for faster inference.",
  examples = {
    { "quantize run training/ --test validation/ --out run/small.safetensors", "ranges from the training images, "
      .. "accuracy before and after on others" },
    { "quantize run training/ --method percentile --out small.safetensors", "leave the largest values out of ranges" },
  },
  describe = function(parser)
    arguments.model(parser)
    arguments.set(parser)
    parser:option("--out", "The file to write."):argname "FILE":count(1):convert(arguments.rule(option.PATH, "--out"))
    parser:option("--test", "Images on which accuracy before and after is told, as SET. By default SET."):argname "SET"
      :convert(arguments.rule(option.PATH, "--test"))
    arguments.options(parser, quantize.KNOWN, {
      { "method", "How ranges are found: minmax, percentile or mse." },
      { "images", "So many of SET are looked at.", "N" },
      { "margin", "How much further ranges reach than what was seen.", "SHARE" },
      { "percentile", "With --method percentile: the share of values that is kept.", "SHARE" },
      { "batch", "Images at a time.", "N" },
    })
    arguments.threads(parser)
  end,
  run = function(options)
    local problem = arguments.overwrites(options.out, options.model)
    if problem then return nil, problem end
    local classifier, set = arguments.open_model_and_set(options)
    if not classifier then return nil, set end
    local test, message = set
    if options.test then test, message = classifier:open(options.test) end
    if not test then return nil, message end
    local small = classifier:quantize(set, arguments.given(options, quantize.KNOWN))
    local before, after = classifier:evaluate(test), small:evaluate(test)
    local ok
    ok, message = small:save(options.out)
    if not ok then return nil, message end
    print(row("before", before))
    print(row("8 bits", after))
    print(plain.format("the same class for %s of %d images", plain.percent(agreement(before, after)), #test))
    if classifier.novelty then
      print "unknown images are not told in 8 bits: what texres novelty has written stays with the network in f32"
    end
    print("\nnetwork: " .. plain.visible_name(options.out))
  end,
}
