--- Lets the scripts of a checkout run without any environment, from any folder: after `make`, they take texres from the
-- lua/ folder beside this one; where nothing was built there, from where it is installed.

local root = (debug.getinfo(1, "S").source:match "^@(.*)/" or ".") .. "/.."
local built = io.open(root .. "/lua/texres/core.so")
if built then
  built:close()
  package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(root, root, package.path)
  package.cpath = ("%s/lua/?.so;%s"):format(root, package.cpath)
end
