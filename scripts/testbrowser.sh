#!/usr/bin/env bash
# Prepares the browser in which the dashboard's page is tested: Debian's chromium.
set -uo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null; then echo "browser: $(command -v "$name")"; exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium) >/tmp/grouse-chromium.log 2>&1 || tail -n 3 /tmp/grouse-chromium.log
fi
command -v chromium >/dev/null || { echo "no browser here: the dashboard's page will not be tested (apt-get install chromium)"; exit 0; }
