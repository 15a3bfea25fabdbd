#!/usr/bin/env bash
# check.sh BUILD_DIR CXX: installs BUILD_DIR, moves the installed tree, and uses it the three ways that others will: through
# find_package, through pkg-config, and as the program with its model.
set -euo pipefail
build=$1 cxx=$2
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { printf '\n-- %s\n' "$*"; }

# The output of a command must hold this line.
expect() {
  local line=$1 output
  shift
  output=$("$@")
  grep -qxF -- "$line" <<<"$output" || { printf 'expected the line "%s", got:\n%s\n' "$line" "$output"; exit 1; }
}

step "install, then move what was installed"
cmake --install "$build" --prefix "$work/staged" >/dev/null
mv "$work/staged" "$work/halyard"
prefix=$work/halyard
cd "$work"
[[ ! -e $prefix/include/halyard/testing ]] || { echo "test helpers were installed"; exit 1; }
if grep -rIlF -e "$source" -e "$work/staged" "$prefix"; then echo "the files above name the build's folders"; exit 1; fi

# Each compiler there is, and each standard that it knows.
step "each header by itself"
for name in state attempt driver recording simd json; do
  if [[ $(find "$prefix/include" -name "$name.h") ]]; then echo "$name.h was installed"; exit 1; fi
done
if grep -rlw Json "$prefix/include"; then echo "the files above show JSON's types"; exit 1; fi
for compiler in g++ clang++; do
  command -v $compiler >/dev/null || continue
  (cd "$prefix/include" && find halyard -name '*.h') | xargs -P "$(nproc)" -I{} sh -c '
    for std in 20 2b; do
      echo "#include <$1>" | $0 -x c++ -std=c++$std -Wall -Wextra -Wconversion -Wpedantic -Werror -fsyntax-only \
        -I"$2" - || { echo "$0, C++$std: $1"; exit 1; }
    done' $compiler {} "$prefix/include"
done

step "find_package(Halyard): the pinned interface and the examples"
mkdir outside
cp -r "$source/examples" "$source/testdata/api_check.cc" "$source/tests/install/CMakeLists.txt" outside/
cmake -S outside -B outside/build -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" >/dev/null
cmake --build outside/build
expect "2 3 4 5 " outside/build/examples/hello_encoder
expect "4 4 4 4 " outside/build/examples/session_stages
expect "3 0 1 2 7 4 5 6 " outside/build/examples/custom_kernel
expect "3 0 1 2 7 4 5 6 " outside/build/custom_kernel_static
if ldd outside/build/custom_kernel_static | grep libhalyard; then echo "linked with the shared library"; exit 1; fi
expect "dispatches 4, command buffers 4, waits of the host 1, waits on a fence 3" outside/build/examples/session_stages

step "pkg-config"
pc=$(find "$prefix" -name halyard.pc)
flags=$(PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs halyard)
# shellcheck disable=SC2086  # the flags are several words
"$cxx" -std=c++20 outside/examples/hello_encoder.cc $flags -o hello
expect "2 3 4 5 " env LD_LIBRARY_PATH="$(PKG_CONFIG_PATH=${pc%/*} pkg-config --variable=libdir halyard)" ./hello

# shellcheck disable=SC2086
"$cxx" -std=c++20 outside/examples/custom_kernel.cc \
  $(PKG_CONFIG_PATH=${pc%/*} pkg-config --cflags --libs halyard-static) -o custom
expect "3 0 1 2 7 4 5 6 " ./custom

step "the program finds its library and its model"
text=$("$prefix/bin/halyard" generate -p "It was a dark and stormy night" -m 8 2>"$work/stderr") ||
  { cat "$work/stderr"; exit 1; }
[[ -n $text ]] || { echo "halyard generate printed nothing"; exit 1; }

step "many requests at once write what each writes alone"
model=$prefix/share/halyard/models/gutenberg-29m-4bit
streams=$(outside/build/examples/engine_streams "$model" "It was a dark" "The sea")
for prompt in "It was a dark" "The sea"; do
  alone=$prompt$("$prefix/bin/halyard" generate --model "$model" -p "$prompt" -m 24 2>/dev/null)
  [[ $streams == *"$alone"* ]] || { printf 'expected "%s" in:\n%s\n' "$alone" "$streams"; exit 1; }
done
