rockspec_format = "3.0"
package = "texres"
version = "scm-1"
source = {
  url = "git+file://.", -- `luarocks make` builds from the checkout; whoever hosts a copy puts its address here
}
description = {
  summary = "Residual networks for textile defects: tensors, autograd and training in C, driven by Lua",
  detailed = [[
A Lua 5.4 module with a C11 core that trains and runs residual networks on the CPU: tensors, automatic
differentiation, layers, optimizers, data sets, a trainer with reports, and checkpoints in safetensors.]],
  license = "MIT",
}
supported_platforms = { "unix" }
dependencies = {
  "lua ~> 5.4",
}
external_dependencies = {
  OPENBLAS = { library = "openblas" },
}
build = {
  type = "make",
  build_variables = {
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    LUA = "$(LUA)",
  },
  install_variables = {
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    CFLAGS = "$(CFLAGS)",
    LUA = "$(LUA)",
  },
}
test_dependencies = { "busted" }
test = {
  type = "command",
  command = "make test",
}
