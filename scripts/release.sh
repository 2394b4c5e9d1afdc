#!/usr/bin/env bash
# Builds static binaries and Python wheels into dist/, with SHA256SUMS.
#   scripts/release.sh VERSION [OS/ARCH ...]     without platforms: all four
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?"usage: scripts/release.sh VERSION [OS/ARCH ...]"}
version=${version#v}
shift
platforms=("$@")
[ ${#platforms[@]} -gt 0 ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64)
python=${PYTHON:-python3}

mkdir -p dist
for platform in "${platforms[@]}"; do
  os=${platform%/*} arch=${platform#*/}
  binary=dist/grouse-$version-$os-$arch
  echo "== $platform"
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -ldflags "-s -w -X main.version=v$version" -o "$binary" ./cmd/grouse
  "$python" scripts/wheel/wheel.py --version "$version" --os "$os" --arch "$arch" --binary "$binary" --license LICENSE --out dist
done
cd dist
sums=$(command -v sha256sum || echo "shasum -a 256")
$sums grouse-"$version"-* grouse-"$version"*.whl | sort -u -k 2 > SHA256SUMS
cat SHA256SUMS
