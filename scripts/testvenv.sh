#!/usr/bin/env bash
# Prepares .venv-test: the Python in which tests run a Temporal worker as a reward.
set -euo pipefail
cd "$(dirname "$0")/.."
want="temporalio==1.35.0"
if [ ! -x .venv-test/bin/python ] || [ "$(cat .venv-test/packages 2>/dev/null)" != "$want" ]; then
  rm -rf .venv-test
  python3 -m venv .venv-test
  .venv-test/bin/pip install --quiet --disable-pip-version-check "$want"
  echo "$want" > .venv-test/packages
fi
.venv-test/bin/python -c "import temporalio; print('.venv-test: temporalio', temporalio.__version__)" 2>/dev/null ||
  .venv-test/bin/python -c "import importlib.metadata as m; print('.venv-test: temporalio', m.version('temporalio'))"
