# `make` alone lists the targets. Every target works from any folder (make -C DIR, make -f DIR/Makefile), sets up
# what it needs first, and calls programs of .venv as `python -m`.

# The folder of this file, spaces and all: MAKEFILE_LIST is "FILE" or " FILE" here. It travels in the environment, so that
# no shell reads it as code.
override quote := '
override this := $(subst |^,,$(subst |^ ,|^,|^$(MAKEFILE_LIST)))
export BITPROP_ROOT := $(shell CDPATH= cd -- "$$(dirname -- '$(subst $(quote),'\'',$(this))')" && pwd)

# bash: pipefail, and the same shell as tools/setup.sh
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
# One target after the other, but for those that `test` runs side by side: each of them keeps one processor busy.
TOGETHER ?= no
ifeq ($(TOGETHER),no)
.NOTPARALLEL:
endif
.PHONY: help demo test setup lint format types unit coverage docs docs-check prove bench kernels sanitize clean distclean

PYTHON ?=
WORKERS ?= 2
ARGS ?=
BITPROP_REQUIRE_TOOLS ?= 1
export PYTHON BITPROP_REQUIRE_TOOLS
# Tests start Python some hundred times; without bytecode each time would compile bitprop anew. `make clean` removes it.
unexport PYTHONDONTWRITEBYTECODE

in := cd -- "$$BITPROP_ROOT" &&
python := .venv/bin/python
sphinx := $(python) -m sphinx -W --keep-going -q -d docs/_build/doctrees
again := $(MAKE) -f "$$BITPROP_ROOT/Makefile"

help: ## list the targets
	@$(in) awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=/path/to/python3 chooses the Python of a new .venv; bash tools/setup.sh --help says more."

demo: setup ## set up, then run the main job end to end; results in demo/
	@$(in) $(python) -m bitprop demo $(ARGS)

test: setup ## set up, then run every check: lint, types, docs, unit
	@failed=; \
	echo "== make lint types docs-check"; \
	$(again) -k -j 2 --output-sync=target TOGETHER=yes lint types docs-check || failed="$$failed lint, types or docs"; \
	echo "== make unit"; \
	$(again) unit || failed="$$failed unit"; \
	if [ -n "$$failed" ]; then echo "make test: failed:$$failed" >&2; exit 1; fi

setup: ## system packages, .venv and dependencies; does nothing when they are up to date
	@$(in) bash tools/setup.sh

lint: setup ## ruff's rules and format, and the text rules of tools/check_text.py
	@$(in) $(python) -m ruff check .
	@$(in) $(python) -m ruff format --check .
	@$(in) $(python) tools/check_text.py
	@$(in) .venv/bin/clang-format --dry-run --Werror src/kernels/*

format: setup ## rewrite the Python files in ruff's format
	@$(in) $(python) -m ruff check --fix .
	@$(in) $(python) -m ruff format .
	@$(in) .venv/bin/clang-format -i src/kernels/*

types: setup ## mypy --strict
	@$(in) $(python) -m mypy --strict

unit: setup ## pytest; ARGS="-k word" narrows it, WORKERS=n sets the processes
	@$(in) OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist worksteal --durations=25 $(ARGS)

coverage: setup ## pytest with branch coverage, which takes twice the time
	@$(in) OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist worksteal --cov --cov-branch \
	    --cov-report=term-missing:skip-covered $(ARGS)

docs: setup ## the HTML documentation, warnings are errors; docs/_build/html/index.html
	@$(in) $(sphinx) -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# furo draws the list of all pages into each page, which takes twice as long as everything that can go wrong
docs-check: setup ## read the documentation and resolve its references as `docs` does, but write no page
	@$(in) $(sphinx) -b dummy docs docs/_build/dummy

kernels: setup ## build the native kernels again, warnings are errors
	@$(in) $(python) tools/build_kernels.py --werror

prove: setup ## prove the Verilog library against its contracts, refute planted faults; ARGS="lfsr" narrows it
	@$(in) $(python) -m bitprop prove $(ARGS)

sanitize: setup ## the kernels' tests with the address and undefined-behaviour sanitizers
	@$(in) $(python) tools/sanitize_kernels.py $(ARGS)

bench: setup ## the benchmarks
	@$(in) $(python) benchmarks/run.py $(ARGS)

clean: ## remove what the other targets made, except .venv
	@$(in) rm -rf build dist src/bitprop/_kernels.* demo docs/_build docs/api .coverage .coverage.* coverage.xml \
	    .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@$(in) find src tests tools docs benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	@$(in) rm -rf .venv
