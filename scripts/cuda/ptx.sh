#!/usr/bin/env bash
# Compiles the CUDA kernels to PTX, with a pinned NVRTC (no GPU, no toolkit):
#
#   scripts/cuda/ptx.sh [KERNELS [OUT [MAIN]]]     internal/tensor/cuda/kernels, KERNELS/ptx, all.cu
#
# and writes OUT/compute_*.ptx.gz and OUT/MANIFEST: the sources' hashes, NVRTC's
# version, the flags, the hashes of the PTX. A test of OUT compares. The same sources
# give the same bytes.
#
# NVRTC 12.4 is old enough for drivers from 550 on, which refuse PTX newer than
# themselves, and new enough for Hopper's instructions.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kernels=${1:-$root/internal/tensor/cuda/kernels}
out=${2:-$kernels/ptx}
main=${3:-all.cu}
version=12.4.127
wheel=nvidia_cuda_nvrtc_cu12-$version-py3-none-manylinux2014_x86_64.whl
sha256=a178759ebb095827bd30ef56598ec182b85547f1508941a3d560eb7ea1fbf338
python=${PYTHON:-python3}
cache=$root/build/nvrtc
[ -f "$kernels/$main" ] || { echo "ptx.sh: $kernels has no $main" >&2; exit 1; }
mkdir -p "$cache"
[ -f "$cache/$wheel" ] || $python -m pip download --quiet --no-deps --only-binary=:all: --platform manylinux2014_x86_64 --dest "$cache" nvidia-cuda-nvrtc-cu12==$version
echo "$sha256  $cache/$wheel" | sha256sum --check --quiet || { echo "ptx.sh: $cache/$wheel is not the NVRTC that was pinned: remove it and try again" >&2; exit 1; }
[ -f "$cache/$version/nvidia/cuda_nvrtc/lib/libnvrtc.so.12" ] || $python -m zipfile -e "$cache/$wheel" "$cache/$version"
$python "$root/scripts/cuda/ptx.py" "$cache/$version/nvidia/cuda_nvrtc/lib/libnvrtc.so.12" $version "$kernels" "$main" "$out"
