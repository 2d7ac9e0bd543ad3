#!/usr/bin/env bash
# Build numpy's wheel for Pyodide from its PyPI source, without the Emscripten SDK: clang and wasm-ld from Debian, headers from
# Debian's packages, facts about the target Python from Pyodide itself. No patch to numpy.
#   build_numpy.sh WORK PYODIDE VENV      WORK: scratch; PYODIDE: unpacked npm package; VENV: has unearth
# Leaves WORK/out/*.whl, and numpy with its test files in WORK/tests.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/versions.env"; source "$HERE/debian.sh"
mkdir -p "$1"; W=$(cd "$1" && pwd); PYODIDE=$(cd "$2" && pwd); VENV=$(cd "$3" && pwd)
cd "$W"
say() { printf '  numpy: %s\n' "$*"; }

say "source and headers"
mkdir -p dl
[ -f "dl/numpy-$NUMPY_VERSION.tar.gz" ] || "$VENV/bin/unearth" --no-binary --download dl "numpy==$NUMPY_VERSION" > /dev/null
echo "$NUMPY_SHA256  dl/numpy-$NUMPY_VERSION.tar.gz" | sha256sum -c --quiet
unpack_debs "$W/emscripten" emscripten
unpack_debs "$W/python" "libpython$PYTHON_VERSION-dev"
rm -rf src; mkdir src; tar xf "dl/numpy-$NUMPY_VERSION.tar.gz" -C src --strip-components=1
[ -d venv ] || { python3 -m venv venv; venv/bin/pip -q install "cython==$CYTHON_VERSION" ninja wheel; }
export PATH="$W/venv/bin:$PATH"

# The system headers as emcc would install them, and Python's.
S=$W/sysroot; E=emscripten/root/usr/share/emscripten/system
rm -rf "$S"; mkdir -p "$S/include/bits" "$S/include/c++"
cp -r $E/include/. $E/lib/compiler-rt/include/. $E/lib/libunwind/include/. $E/lib/libc/musl/include/. "$S/include/"
cp -r $E/lib/libc/musl/arch/generic/bits/. $E/lib/libc/musl/arch/emscripten/bits/. "$S/include/bits/"
cp -r $E/lib/libcxx/include "$S/include/c++/v1"; cp -r $E/lib/libcxxabi/include/. "$S/include/c++/v1/"
cp -r "python/root/usr/include/python$PYTHON_VERSION" "$S/include/"

# pyconfig.h, and Meson's facts about the target Python (else it asks the host's).
python3 "$HERE/target_python.py" "$PYODIDE" "$S" src/vendored-meson/meson/mesonbuild/scripts/python_info.py

# A stand-in for emcc: clang and wasm-ld. Pyodide uses WebAssembly exceptions in their legacy encoding. A link fails on any
# symbol that Pyodide's main module does not export, as emcc's would at run time.
"llvm-nm-$LLVM" --defined-only --format=just-symbols "$PYODIDE/pyodide.asm.wasm" > exports.txt
cat > wcc <<WCC
#!/usr/bin/env bash
case " \$* " in *" --version "*|*"-Wl,--version"*) echo "emcc (Emscripten stand-in: clang-$LLVM, wasm-ld) $EMSCRIPTEN_VERSION"; exit;; esac
[[ \$0 == *++ ]] && CC=clang++-$LLVM || CC=clang-$LLVM
F=(--target=wasm32-unknown-emscripten --sysroot=$S -Xclang -iwithsysroot/include/compat -fPIC -fvisibility=hidden
   -fwasm-exceptions -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh -mllvm -disable-lsr $NUMPY_CFLAGS)
# LAPACK is large, and here for what numpy imports at its start alone.
case " \$* " in *lapack_lite*|*umath_linalg*) L=-Oz;; esac
for a in "\$@"; do case "\$a" in -c|-E|-S) exec \$CC "\${F[@]}" "\$@" \$L;; esac; done
out=a.out objs=() srcs=() comp=()
while [ \$# -gt 0 ]; do case "\$1" in
  -o) out=\$2; shift;;  *.c|*.cc|*.cpp) srcs+=("\$1");;  *.o|*.a) objs+=("\$1");;
  -shared|-lm|-s*|-Wl,*) ;;  -I*|-D*|-O*|-f*|-std*|-W*|-m*|-g*) comp+=("\$1");;
  *) echo "wcc: unknown argument \$1" >&2; exit 1;;
esac; shift; done
for s in "\${srcs[@]}"; do \$CC "\${F[@]}" "\${comp[@]}" -c "\$s" -o "\$out.o" || exit 1; objs+=("\$out.o"); done
# Anything but a .so is one of Meson's link probes. Without __wasm_call_ctors C++ constructors would silently never run.
[[ \$out == *.so ]] && mode=(-shared --experimental-pic) || mode=(--no-gc-sections)
exec wasm-ld-$LLVM "\${mode[@]}" --allow-undefined-file=$W/exports.txt --no-entry --import-memory --strip-debug \\
  --export-if-defined=__wasm_call_ctors -mllvm -wasm-enable-eh -mllvm -exception-model=wasm -mllvm -wasm-enable-sjlj \\
  -o "\$out" "\${objs[@]}"
WCC
chmod +x wcc; ln -sf wcc wc++
cat > cross.ini <<INI
[binaries]
c = '$W/wcc'
cpp = '$W/wc++'
ar = 'llvm-ar-$LLVM'
[properties]
needs_exe_wrapper = true
longdouble_format = 'IEEE_QUAD_LE'
[host_machine]
system = 'emscripten'
cpu_family = 'wasm32'
cpu = 'wasm'
endian = 'little'
INI

say "configure"
rm -rf build inst tests
meson=(python3 src/vendored-meson/meson/meson.py)
"${meson[@]}" setup build src --cross-file cross.ini --buildtype=release --prefix=/ -Dallow-noblas=true -Dblas=none \
  -Dlapack=none > setup.log 2>&1 || { tail -30 setup.log; exit 1; }
say "compile (minutes)"
ninja -C build -j"$(nproc)" > ninja.log 2>&1 || { grep -A20 FAILED ninja.log | head -60; exit 1; }
DESTDIR=$W/inst "${meson[@]}" install -C build --no-rebuild --tags runtime,python-runtime > install.log 2>&1
DESTDIR=$W/inst-tests "${meson[@]}" install -C build --no-rebuild --tags runtime,python-runtime,devel,tests >> install.log 2>&1

say "wheel"
R=$W/inst/site-packages; D=$R/numpy-$NUMPY_VERSION.dist-info; mkdir -p "$D/licenses" out
# Meson asked the host's Python for its version, so numpy.distutils came along; Python 3.12 and later have none.
find inst inst-tests -name __pycache__ -prune -exec rm -rf {} +; rm -rf inst*/site-packages/numpy/distutils
cp src/PKG-INFO "$D/METADATA"; cp src/LICENSE.txt "$D/licenses/"
printf 'Wheel-Version: 1.0\nGenerator: pyenhance build_numpy.sh\nRoot-Is-Purelib: false\nTag: cp314-cp314-%s_wasm32\n' \
  "$PYODIDE_ABI" > "$D/WHEEL"
wheel pack "$R" -d out > /dev/null
mv inst-tests/site-packages tests
rm -rf build src inst inst-tests emscripten python dl venv
