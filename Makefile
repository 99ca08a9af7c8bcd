# Two commands do everything:  make run  and  make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test report docs benchmark clean
.DELETE_ON_ERROR:

run: $(VENV)/.demo                    ## install, then train what is missing, replay, confirm live, write results
	HF_HUB_OFFLINE=1 $(BIN)/python -m harness run --all

test: $(VENV)/.dev                    ## install, then lint, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q

report: $(VENV)/.demo                 ## tables and plots from the committed caches, no network run
	$(BIN)/python -m harness report

docs: $(VENV)/.demo                   ## docs/policies.md from the docstrings of the rules
	$(BIN)/python -m harness list policies --markdown > docs/policies.md

benchmark: $(VENV)/.dev               ## ratios that hold on any machine (not part of the tests)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-disable-gc -q -s -o addopts=--import-mode=importlib

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .hypothesis
