--- texres help: what a command takes, or what a name of the library is.

local texres = require "texres"

return {
  summary = "The options of a command, or what a name of the library is.",
  examples = {
    { "help summary", "the options of a command, with examples" },
    { "help conv2d", "a function of the library, as texres.help \"conv2d\" tells it" },
  },
  describe = function(parser)
    parser:argument("topic", "A command or a name of the library; without it, the list of commands."):args "?"
    parser._is_help_command = true -- completion offers the commands
  end,
  run = function(options, line)
    local topic = options.topic
    local parser = topic == nil and line.parser or line.parsers[topic]
    if parser then return print(parser:get_help()) end
    local text, message = texres.help(topic)
    if not text then return 2, message end
    print(text)
  end,
}
