#!/usr/bin/env bash
# Build the SIMD kernel as an Emscripten side module of a few kilobytes: build_kernel.sh OUT.wasm
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/versions.env"
object=$(mktemp --suffix=.o); trap 'rm -f "$object"' EXIT
"clang-$LLVM" --target=wasm32-unknown-emscripten -fPIC -fvisibility=hidden -O3 -msimd128 -ffreestanding -Wall -Werror \
  -c "$HERE/int8_kernel.c" -o "$object"
"wasm-ld-$LLVM" -shared --experimental-pic --no-entry --strip-debug -o "$1" "$object"
