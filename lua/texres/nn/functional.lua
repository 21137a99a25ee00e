--- The functions behind the layers: those of the C core; see texres.help("conv2d").

return require("texres.core").functional
