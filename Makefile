# Every target makes .venv and installs what it needs first; `make help` lists them.
#
#   PYTHON       interpreter for the environment (default: the first of python3, python3.14 ... python3.11 that will do)
#   VENV         where the environment lives (default: .venv)
#   TORCH_INDEX  package index to take torch from, for example the one with CPU builds, where there is no GPU
#   ARGS         further arguments of `demo`, `bench`, `test` and `test-fast`

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
BUILD_INPUTS := pyproject.toml constraints.txt $(wildcard setup.py csrc/* csrc/*/*)
# What the tests read and compare with, beside what all of it needs; the tests of one that does not install are skipped.
# Triton has no pin in constraints.txt: a CUDA build of torch brings the one version that goes with it.
OPTIONAL := arrow hdf5 remote pandas faiss vision datasets lightning torchmetrics transformers conformance triton
empty :=
space := $(empty) $(empty)
comma := ,

# One BLAS thread for each test worker: the tests' matrices are small, and spinning thread pools disturb each other.
# Workers steal tests at the end, and until then keep whole files, whose fixtures compile kernels.
PYTEST := OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint docs bench sanitize gpu-check wheel wheels clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.ready-demo  ## rank two small networks for scikit-learn's digits: tables here, a page in ./featdiv-demo
	$(BIN)/featdiv demo $(ARGS)

test: lint docs  ## everything that must hold: lint, types, documentation, tests
	$(PYTEST) $(ARGS)

test-fast: $(VENV)/.ready-dev  ## the tests without the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

lint: $(VENV)/.ready-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.ready-dev  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html

bench: $(VENV)/.ready-dev  ## benchmarks: correctness gate, then time (ARGS="--list" shows the workloads)
	$(BIN)/python benchmarks/run.py $(or $(ARGS),spectrum)

sanitize: $(VENV)/.ready-dev  ## the native module under the address and undefined-behaviour sanitizers (needs g++)
	PYTHON=$(BIN)/python csrc/sanitize.sh

gpu-check: $(VENV)/.ready-dev  ## on a machine with a GPU: its tests, compute-sanitizer, benchmarks into benchmarks/results
	$(PIP) install --quiet -c constraints.txt 'featdiv[triton,cupy]'
	$(BIN)/python benchmarks/gpu_check.py $(ARGS)

wheel: $(VENV)/.ready  ## source distribution and a wheel for this machine, in dist
	@$(PIP) install --quiet -c constraints.txt build
	FEATDIV_CPU=on $(BIN)/python -m build --no-isolation

wheels: $(VENV)/.ready  ## manylinux wheels for every Python, in wheelhouse (needs docker or podman)
	@$(PIP) install --quiet -c constraints.txt cibuildwheel
	$(BIN)/python -m cibuildwheel --platform linux --output-dir wheelhouse

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist wheelhouse featdiv-demo docs/_build docs/_generated src/*.egg-info \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src -name '*.so' -delete
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv "$(VENV)"; \
	  fi; \
	done; \
	echo "featdiv needs Python 3.11 or newer with the module venv; none of these will do: $(CANDIDATES)." >&2; \
	echo "Install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1

# The build tools are installed first and used in place, so that they too are the pinned ones.
$(VENV)/.ready: $(BIN)/python $(BUILD_INPUTS)
	@echo "installing featdiv into $(VENV) (some minutes the first time)"
	@$(PIP) install --quiet -c constraints.txt setuptools pybind11
	@$(if $(TORCH_INDEX),$(PIP) install --quiet -c constraints.txt --no-deps --index-url "$(TORCH_INDEX)" torch,:)
	@$(PIP) install --quiet -c constraints.txt --no-build-isolation -e .
	@touch $@

# What reads images and makes networks, for the demonstration. featdiv is there: pip adds what the extra names, and
# nothing is compiled again.
$(VENV)/.ready-demo: $(VENV)/.ready
	@echo "installing timm into $(VENV)"
	@$(PIP) install --quiet -c constraints.txt 'featdiv[vision]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "installing the tools for tests, lint and documentation into $(VENV)"
	@$(PIP) install --quiet -c constraints.txt 'featdiv[test,lint,docs]'
	@$(PIP) install --quiet -c constraints.txt --no-build-isolation 'featdiv[$(subst $(space),$(comma),$(OPTIONAL))]' || \
	  for extra in $(OPTIONAL); do \
	    $(PIP) install --quiet -c constraints.txt --no-build-isolation "featdiv[$$extra]" || \
	      echo "featdiv[$$extra] does not install here: what needs it is not tested" >&2; \
	  done
	@touch $@
