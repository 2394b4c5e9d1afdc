#!/usr/bin/env bash
# Runs every fuzz test for a while: scripts/fuzz.sh [seconds each]
set -euo pipefail
seconds=${1:-20}
grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
  grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/func //' | while read -r name; do
    echo "== $(dirname "$file") $name"
    go test -run '^$' -fuzz "^$name\$" -fuzztime "${seconds}s" "./$(dirname "$file")"
  done
done
