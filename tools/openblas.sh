#!/bin/sh
# Prints the options of the compiler and the linker for OpenBLAS in one line, or nothing where there is none.
#
#     CC=gcc PKG_CONFIG=pkg-config tools/openblas.sh
#
# OPENBLAS_DIR says where it is, or OPENBLAS_INCDIR and OPENBLAS_LIBDIR, as in LuaRocks. Else pkg-config is asked, then the
# usual places are tried: those of the compiler, Debian's per architecture, include/openblas (Fedora, Arch), Homebrew, /usr/local.
set -u

works() {
  # shellcheck disable=SC2086 # lists of words
  echo '#include <cblas.h>
int main(void) { openblas_set_num_threads(1); return openblas_get_config() == 0; }' |
    $CC -x c -o /dev/null $1 - $2 -lopenblas 2>/dev/null
}

try() { # folder of cblas.h, folder of the library; empty: those of the compiler
  include=${1:+-I$1}
  library=${2:+-L$2}
  if { [ -z "$1" ] || [ -f "$1/cblas.h" ]; } && works "$include" "$library"; then
    echo "$include $library -lopenblas"
    exit 0
  fi
}

if [ -n "${OPENBLAS_DIR:-}${OPENBLAS_INCDIR:-}${OPENBLAS_LIBDIR:-}" ]; then
  include=${OPENBLAS_INCDIR:-${OPENBLAS_DIR:+$OPENBLAS_DIR/include}}
  library=${OPENBLAS_LIBDIR:-${OPENBLAS_DIR:+$OPENBLAS_DIR/lib}}
  try "$include" "$library"
  echo "no OpenBLAS in '$include' and '$library': looking elsewhere" >&2
fi
found=$($PKG_CONFIG --cflags --libs openblas 2>/dev/null) && echo "$found" && exit 0
try "" ""
machine=$($CC -print-multiarch 2>/dev/null)
for kind in pthread openmp serial; do
  try "/usr/include/$machine/openblas-$kind" "/usr/lib/$machine/openblas-$kind"
done
try /usr/include/openblas ""
for prefix in /opt/homebrew/opt/openblas /usr/local/opt/openblas /usr/local; do try "$prefix/include" "$prefix/lib"; done
exit 0
