--- texres completion: what a shell has to read so that Tab completes commands, options and files.

return {
  summary = "What bash or zsh reads so that Tab completes commands and options.",
  examples = {
    { "source <(texres completion bash)", "for this bash; as a line of ~/.bashrc for each one" },
    { "mkdir -p ~/.zfunc && texres completion zsh >~/.zfunc/_texres",
      "for zsh, with fpath+=~/.zfunc; autoload -U compinit; compinit in .zshrc" },
  },
  describe = function(parser)
    parser:argument("shell", "bash or zsh."):choices { "bash", "zsh" }
  end,
  run = function(options, line)
    io.write(options.shell == "bash" and line.parser:get_bash_complete() or line.parser:get_zsh_complete())
  end,
}
