# `make verify` and `make test` need only Python 3.11 or newer and make: everything else goes into .venv, once.
# Another Python:  make PYTHON=python3.12 test        Arguments:  make verify ARGS='--suite quick'

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
REPORT := kernelproof-report
LOCKS := requirements.lock requirements-cpu.lock requirements-cuda.lock
ARGS ?=

# The same answer twice; HYPOTHESIS_PROFILE=dev explores.
export HYPOTHESIS_PROFILE ?= ci

.DEFAULT_GOAL := help
.PHONY: help install lock verify test triton-test mutants other-pythons lint format types layers wheel-test bench benchmarks coverage clean

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(INSTALLED) ## set up .venv with the tested versions

# Set up again only when what is installed would change.
$(INSTALLED): pyproject.toml constraints.txt $(LOCKS) .ci/install
	@command -v "$(PYTHON)" >/dev/null || { echo "kernelproof needs Python 3.11 or newer; there is no $(PYTHON). Try: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kernelproof needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" -c 'import platform; print(platform.python_version())'). Try: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Setting up $(VENV), once; this takes a few minutes."
	"$(PYTHON)" -m venv $(VENV)
	.ci/install $(BIN)/python
	@touch $@

lock: ## write the locks anew, after a change of constraints.txt; needs PyPI
	.ci/lock "$(PYTHON)"

verify: $(INSTALLED) ## hold every built-in backend against the truth; the report goes to kernelproof-report/
	$(BIN)/kernelproof verify --out $(REPORT) $(ARGS)

test: $(INSTALLED) ## all tests
	$(BIN)/python -m pytest -n auto --dist loadgroup --benchmark-disable $(ARGS)

triton-test: $(INSTALLED) ## the example in Triton, in its interpreter; Linux
	.ci/triton-test $(BIN)/python

mutants: $(INSTALLED) ## the score of the tester: faulty implementations killed, correct ones called right; a sample with ARGS='--sample 40'
	$(BIN)/python tests/meta/mutants/score.py $(ARGS)

lint: $(INSTALLED) ## ruff, both as linter and as formatter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(INSTALLED) ## mypy over the package, then over the tests
	$(BIN)/mypy
	$(BIN)/mypy tests

layers: $(INSTALLED) ## imports only go down
	$(BIN)/lint-imports

other-pythons: ## a part of the tests with Python 3.12 and 3.13, where they are here
	.ci/other-pythons

wheel-test: $(INSTALLED) ## build sdist and wheel, and test the wheel outside the source
	.ci/wheel-test $(BIN)/python

bench: $(INSTALLED) ## speed beside rivals, the kept run and the README's table anew: on a machine with nothing else to do
	$(BIN)/kernelproof bench --out reports/gallery/bench-cpu --readme README.md

benchmarks: $(INSTALLED) ## speed, side by side, under pytest-benchmark
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only $(ARGS)

coverage: $(INSTALLED) ## lines and branches that the tests reach
	$(BIN)/coverage run -m pytest --benchmark-disable $(ARGS)
	$(BIN)/coverage combine
	$(BIN)/coverage report

clean: ## remove what was built here, .venv included
	rm -rf $(VENV) $(REPORT) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks .coverage .coverage.*
	find reference theory verify reports src tests -name __pycache__ -type d -prune -exec rm -rf {} +
