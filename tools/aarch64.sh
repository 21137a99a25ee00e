#!/bin/sh
# Puts what the aarch64 build needs of Debian's arm64 packages into a folder: libraries, headers and Lua. Nothing is installed.
#
#     tools/aarch64.sh build-aarch64/root
#
# The packages come from the system's own sources through apt-get, with state and cache of their own below the folder. It also
# writes FOLDER/run, which runs that Lua under qemu-user.
set -eu
root=$1
mkdir -p "$root"
root=$(cd "$root" && pwd)
[ ! -e "$root/done" ] || exit 0

apt=$root/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
cat >"$apt/apt.conf" <<END
APT { Architecture "arm64"; Architectures { "arm64"; }; Sandbox::User ""; };
Dir { State::Lists "$apt/lists"; State::status "/dev/null"; Cache "$apt/cache"; };
Debug::NoLocking "true";
END
echo "fetching arm64 packages into $root"
APT_CONFIG=$apt/apt.conf
export APT_CONFIG
apt-get update -qq
apt-get install -qq -y --no-install-recommends --download-only lua5.4 liblua5.4-dev libopenblas-pthread-dev libhdf5-dev zlib1g-dev \
  libstb-dev lua-filesystem lua-system lua-term >/dev/null
for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
rm -rf "$apt"

cat >"$root/run" <<END
#!/bin/sh
exec qemu-aarch64 -L '$root' -E LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu/openblas-pthread '$root/usr/bin/lua5.4' "\$@"
END
chmod +x "$root/run"
touch "$root/done"
