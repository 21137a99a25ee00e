#!/bin/sh
# Makes sure that the system packages of packages.txt are there.
#
#     tools/setup.sh build run test
#
# installs what is missing for the uses named, through apt as root or with a sudo that asks for no password. Where it can't, or
# after --tell, it prints the one command that does and ends with status 1.
set -u
cd "$(dirname "$0")/.." || exit 1
tell=
if [ "${1:-}" = --tell ]; then
  tell=yes
  shift
fi

missing=
optional=
for use in "$@"; do
  while read -r row package probe; do
    case $row in "$use" | "$use?") ;; *) continue ;; esac
    if sh -c "$probe" >/dev/null 2>&1 </dev/null; then continue; fi
    if [ "$row" = "$use" ]; then missing="$missing $package"; else optional="$optional $package"; fi
  done <packages.txt
done
[ -n "$missing$optional" ] || exit 0

# Says why nothing can be installed, and ends: without a fault where only optional packages are missing.
give_up() {
  if [ -z "$missing" ]; then
    echo "texres is built without these packages, which are optional:$optional" >&2
    exit 0
  fi
  printf '%s\n' "$@" >&2
  exit 1
}

if ! command -v apt-get >/dev/null 2>&1; then
  give_up "texres needs these packages (named as in Debian):$missing" \
    "Install them with your system's package manager, then run make again."
fi
if [ "$(id -u)" = 0 ]; then
  as_root=
elif sudo -n true 2>/dev/null; then
  as_root="sudo -n"
else
  tell=yes
fi
if [ -n "$tell" ]; then
  who=
  sudo=
  if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then sudo="sudo "; else who=" as root"; fi
  fi
  update= # a fresh system has no list of packages yet
  # shellcheck disable=SC2086 # lists of words
  set -- $missing $optional
  apt-cache show "$1" >/dev/null 2>&1 || update="${sudo}apt-get update && "
  give_up "texres needs packages that are not installed. Run this$who, then make again:" \
    "    $update${sudo}apt-get install -y$missing$optional"
fi

missing=$missing$optional
echo "installing:$missing"
install() {
  # shellcheck disable=SC2086 # both are lists of words
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
install || { $as_root apt-get update -qq && install; } || {
  echo "apt-get could not install:$missing" >&2
  exit 1
}
