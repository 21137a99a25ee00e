rockspec_format = "3.0"
package = "texres"
version = "0.2.0-1"
source = {
  url = "git+file://.", -- `luarocks make` builds from the checkout; whoever hosts a copy puts its address here
}
description = {
  summary = "Residual networks for textile defects: tensors, autograd and training in C, driven by Lua",
  detailed = [[
A Lua 5.4 module with a C11 core that trains and runs residual networks on the CPU: tensors, automatic
differentiation, layers, optimizers, data sets, a trainer with reports, and checkpoints in safetensors. The command
texres trains, tests and applies a network without a line of Lua. OpenBLAS is used where it is found (OPENBLAS_DIR
says where), libhdf5 and MPI where pkg-config knows them.]],
  license = "MIT",
}
supported_platforms = { "unix" }
dependencies = {
  "lua ~> 5.4",
  "argparse >= 0.7", -- of the command; the module needs none
}
external_dependencies = {
  ZLIB = { header = "zlib.h", library = "z" },
  STB = { header = "stb/stb_image.h" },
}
build = {
  type = "make",
  variables = {
    CFLAGS = "$(CFLAGS)",
    LUA = "$(LUA)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    ZLIB_INCDIR = "$(ZLIB_INCDIR)",
    ZLIB_LIBDIR = "$(ZLIB_LIBDIR)",
    STB_INCDIR = "$(STB_INCDIR)",
  },
  install_variables = {
    LUADIR = "$(LUADIR)",
    LIBDIR = "$(LIBDIR)",
    BINDIR = "$(BINDIR)",
  },
}
test_dependencies = { "busted" }
test = {
  type = "command",
  command = "make test",
}
