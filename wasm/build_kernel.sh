#!/usr/bin/env bash
# Build a SIMD kernel as an Emscripten side module of a few kilobytes: build_kernel.sh SOURCE.c OUT.wasm [FLAG...]
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/versions.env"
object=$(mktemp --suffix=.o); trap 'rm -f "$object"' EXIT
"clang-$LLVM" --target=wasm32-unknown-emscripten -fPIC -fvisibility=hidden -O3 -msimd128 -mbulk-memory \
  -ffreestanding -ffp-contract=off -Wall -Werror \
  "${@:3}" -c "$1" -o "$object"
"wasm-ld-$LLVM" -shared --experimental-pic --no-entry --strip-debug -o "$2" "$object"
