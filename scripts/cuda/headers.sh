#!/usr/bin/env bash
# Makes build/include/{cuda.h,nvrtc.h}, with which gorgonia.org/cu compiles, from
# the header that its module ships (Apache-2.0, the API of CUDA 11, preprocessed):
# no CUDA toolkit, no NVIDIA package.
#
# A driver exports two generations of many functions; NVIDIA's cuda.h renames the
# plain name to the later one by a macro. versions.txt holds those macros: without
# them a program would bind the first generation, whose addresses have 32 bits.
# internal/cudashim's test looks for that.
set -euo pipefail
cd "$(dirname "$0")/../.."
go=${GO:-go}
module=$($go list -m -f '{{.Dir}}' gorgonia.org/cu)
if [ -z "$module" ]; then
  $go mod download gorgonia.org/cu
  module=$($go list -m -f '{{.Dir}}' gorgonia.org/cu)
fi
source=$module/cmd/genlib/cuda.h
first='typedef unsigned long long CUdeviceptr;'
grep -qxF "$first" "$source" || { echo "headers.sh: $source does not look as expected: has the version of gorgonia.org/cu changed?" >&2; exit 1; }
mkdir -p build/include
new=$(mktemp build/include/.cuda.XXXXXX)
trap 'rm -f "$new"' EXIT
{
  echo "/* Made by scripts/cuda/headers.sh from gorgonia.org/cu's cmd/genlib/cuda.h. */"
  echo "#pragma once"
  echo "#include <stdint.h>"
  echo "#include <stdlib.h>"
  echo "typedef uint32_t cuuint32_t;"
  echo "typedef uint64_t cuuint64_t;"
  echo "#define CU_TRSF_READ_AS_INTEGER 1"
  echo "#define CU_TRSF_NORMALIZED_COORDINATES 2"
  while read -r plain later; do echo "#define $plain $later"; done <scripts/cuda/versions.txt
  sed -n "/^$first\$/,\$p" "$source"
} >"$new"
# Only what changed is written: the build cache goes by content, make by time.
cmp -s "$new" build/include/cuda.h || { chmod 644 "$new"; mv "$new" build/include/cuda.h; }
cmp -s scripts/cuda/nvrtc.h build/include/nvrtc.h || cp scripts/cuda/nvrtc.h build/include/nvrtc.h
