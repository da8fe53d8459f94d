# Everything here needs Python 3.11 or later, and nothing else.
#
#   make demo     install, get the emoji sample, run configs/quickstart.yaml
#   make test     install, run the quick tests

# The first Python on the path that is recent enough; name another with `make PYTHON=...`.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint types format schema gpu-check build clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

venv: $(STAMP)  ## Create .venv and install jigstack in it, at the tested versions.

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later found; name one with: make PYTHON=/path/to/python"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	@# Type checkers do not follow editable installs of a package whose root is the repository.
	@mkdir -p $(VENV)/typing && ln -sfn "$(CURDIR)" $(VENV)/typing/jigstack
	@touch $@

demo: $(STAMP)  ## Get the emoji sample and run configs/quickstart.yaml whole.
	$(BIN)/jigstack sample emoji
	$(BIN)/jigstack run configs/quickstart.yaml

test: $(STAMP)  ## Run the quick tests, a worker for each core.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadfile

test-slow: $(STAMP)  ## Run the end-to-end trials.
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)  ## Check style and formatting.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Check types.
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(STAMP)  ## Put the code in shape.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(STAMP)  ## Write docs/config.schema.json anew.
	$(BIN)/python -m jigstack.configs.editor_schema > docs/config.schema.json.new
	mv docs/config.schema.json.new docs/config.schema.json

gpu-check: $(STAMP)  ## Compare a CUDA machine with its CPU, and time it.
	$(BIN)/python benchmarks/gpu_check.py

build: $(STAMP)  ## Build wheel and sdist into dist/.
	$(BIN)/python -m build

clean:  ## Remove builds and caches; keeps .venv, data and runs.
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
