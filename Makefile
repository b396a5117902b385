# Every target sets up .venv first where that is missing or out of date.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# What the demo promoted, until told otherwise.
DEMO = $${PATCHBAY_HOME:-.patchbay}/demo
URI ?= $(shell cat "$(DEMO)/served" 2>/dev/null)
# Its held-out images are on the service's page; another model's may be of another kind.
SAMPLES ?= $(if $(filter file,$(origin URI)),$(shell ls -d "$(DEMO)/samples" 2>/dev/null))

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format serve bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with the locked dependencies

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "patchbay needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the locked dependencies: some 6 GB where nothing is cached"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the whole story on real digits, from training to a patched answer over HTTP
	$(BIN)/patchbay demo

test: $(READY) ## the test suite (ARGS="-m ''" runs the slow tests too)
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(READY) ## serve the demo's champion, or URI=models:/..., on 127.0.0.1:3000
	@test -n "$(URI)" || { echo "nothing to serve: run make demo first, or give URI=models:/..." >&2; exit 1; }
	$(BIN)/patchbay serve $(URI) $(if $(SAMPLES),--samples "$(SAMPLES)")

bench: $(READY) ## time the search's stages
	$(BIN)/patchbay bench search --stage bracket
	$(BIN)/patchbay bench search --stage decode

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header \
  --no-annotate pyproject.toml

lock: $(READY) ## resolve the ranges of pyproject.toml into both lock files again
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove .venv and the caches (never .patchbay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
