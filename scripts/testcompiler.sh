#!/usr/bin/env bash
# Prepares the C++ compiler with which the CUDA device's kernels run on the
# processor (build tag emu): Debian's g++. Without one their tests cannot run: a failure.
set -uo pipefail
usable() { command -v "${CXX:-g++}" >/dev/null && echo 'int main() {}' | "${CXX:-g++}" -std=c++20 -x c++ - -o /dev/null 2>/dev/null; }
if ! usable && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends g++ libc6-dev) >/tmp/grouse-g++.log 2>&1 || tail -n 3 /tmp/grouse-g++.log
fi
usable || { echo "no C++20 compiler here: the CUDA kernels cannot be tested (apt-get install g++)"; exit 1; }
echo "C++ compiler: $(command -v "${CXX:-g++}")"
