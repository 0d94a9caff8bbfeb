#!/usr/bin/env bash
# Makes the environment: `ci/setup.sh .venv`. The versions are those of ci/constraints.txt, the exact set tested.
# torch first: with a GPU (or on macOS) the plain build; without one the CPU build, where an index or a folder of
# wheels has it, so that no CUDA packages are fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}
python=${PYTHON:-python3}
extras=${EXTRAS:-dev,docs,export}

for candidate in "$python" python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    found=$candidate
    break
  fi
done
[ -n "${found:-}" ] || { echo "scantling needs Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }

echo "setting up $venv with $($found --version)"
"$found" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

torch=$(grep -E '^torch==' ci/constraints.txt)
gpu=no
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then gpu=yes; fi
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  if [ "$gpu" = yes ] || [ "$(uname)" = Darwin ]; then
    pip install -qq --no-compile "$torch"
  else
    pip install -qq --no-compile "$torch+cpu" 2>/dev/null ||
      pip install -qq --no-compile --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null ||
      pip install -qq --no-compile "$torch"
  fi
fi

# uv installs the rest in seconds; where it cannot be had or cannot reach an index, pip does the same more slowly.
if pip install -qq --no-compile uv 2>/dev/null &&
  SSL_CERT_FILE=${SSL_CERT_FILE:-${PIP_CERT:-}} UV_FIND_LINKS=${PIP_FIND_LINKS:-} VIRTUAL_ENV="$venv" \
    "$venv/bin/uv" pip install -q -c ci/constraints.txt -e ".[$extras]" 2>/dev/null; then
  :
else
  pip install -qq --no-compile -c ci/constraints.txt -e ".[$extras]"
fi
echo "ready: $venv/bin/scantling"
