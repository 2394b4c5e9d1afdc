#!/usr/bin/env bash
# The CUDA device's kernels on the processor under AddressSanitizer: every buffer
# is an allocation of its own. Needs g++ with libasan.
set -euo pipefail
cd "$(dirname "$0")/../.."
# -asan instruments Go and C; C++ takes its flags from here. The memory that
# emulated devices still hold when the process ends is no leak.
export CGO_ENABLED=1 CGO_CXXFLAGS="-O1 -g -fsanitize=address" ASAN_OPTIONS=detect_leaks=0
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
for dir in internal/tensor/cuda/emu internal/tensor/cuda; do
  go test -asan -tags emu -c -o "$bin/test" "./$dir" # a binary of its own has symbols, for the reports
  (cd "$dir" && "$bin/test" -test.run 'TestDevice|TestFaults|TestMistakes|TestModels|TestTheDeviceDraws|TestWeightsAreRounded' "$@")
done
