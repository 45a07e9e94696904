#!/usr/bin/env bash
# Builds the CPU module with the address and undefined-behaviour sanitizers in a scratch folder, beside a copy of the
# package, and runs the tests of the ops against it, less those that do not use it: of GPU kernels, and of libraries that
# they compile themselves to play AMX. PYTHON names the interpreter (default: python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cp -r "$root/src" "$root/csrc" "$root/tests" "$root/setup.py" "$root/pyproject.toml" "$scratch/"
cp "$root/README.md" "$root/LICENSE" "$scratch/" 2>/dev/null || true
find "$scratch/src" -name '*.so' -delete
cd "$scratch"
FEATDIV_CPU=on FEATDIV_CUDA=off FEATDIV_SANITIZE=1 CXX="${CXX:-g++}" "$python" setup.py -q build_ext --inplace
# Python itself is not instrumented: the runtimes come first, and its own leaks are not ours.
preload="$(${CXX:-g++} -print-file-name=libasan.so):$(${CXX:-g++} -print-file-name=libubsan.so)"
LD_PRELOAD="$preload" ASAN_OPTIONS=detect_leaks=0 PYTHONPATH="$scratch/src" OMP_NUM_THREADS=2 \
  "$python" -m pytest -q -p no:cacheprovider -n auto --dist worksteal --ignore=tests/ops/cuda --ignore=tests/ops/triton \
  --ignore-glob='tests/ops/native/test_amx*' tests/ops "$@"
