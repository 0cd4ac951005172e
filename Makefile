# Everything below sets up what it needs; `make demo` and `make test` need git, make and Python 3.11 with its venv module.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip --disable-pip-version-check install --quiet
PICTURES ?= $(CURDIR)/build/pictures
WORKERS ?= $(shell nproc)
DEMO := .demo
DEMO_ENV := SRETOOLKIT_STORE_URL=sqlite:///$(CURDIR)/$(DEMO)/store.db SRETOOLKIT_JOURNAL_KEYS=$(CURDIR)/$(DEMO)/keys \
  SRETOOLKIT_RECORDS_FOLDER=$(CURDIR)/$(DEMO)/records

.PHONY: help demo test lint types notebooks test-live test-ui test-faults bench pid1-score judge-score lab lock clean

help:
	@echo "make demo         a runbook and two canary rollouts on this machine, on record (no root, no services)"
	@echo "make test         the hermetic tests"
	@echo "make test-live    install (apt, root) and start the real systems, and test against them"
	@echo "make test-ui      the panels in a real JupyterLab and a real browser (apt, root)"
	@echo "make test-faults  every fault, in full loops"
	@echo "make pid1-score   what is foretold of real containers against what docker stop then does (apt, root)"
	@echo "make judge-score  how often the canary judges are right, on simulated canaries (long)"
	@echo "make lint types notebooks | bench | lab | lock | clean"

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=...)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module is needed: apt-get install python3-venv"; exit 1; }

$(VENV)/.base: $(VENV)/bin/pip requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/pip requirements-dev.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base
	@mkdir -p $(DEMO)
	@$(DEMO_ENV) $(BIN)/sretoolkit run pid1_health
	@echo; $(DEMO_ENV) $(BIN)/sretoolkit demo canary
	@echo; $(DEMO_ENV) $(BIN)/sretoolkit journal verify --all
	@echo; echo "open the record in a browser:"; $(DEMO_ENV) $(BIN)/sretoolkit report last

test: $(VENV)/.dev
	$(BIN)/pytest -q -n $(WORKERS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/interrogate --quiet sretoolkit

types: $(VENV)/.dev
	$(BIN)/mypy

notebooks: $(VENV)/.dev
	$(BIN)/pytest -q tests/test_structure.py tests/test_binder.py -k "notebook or runbook or binder"

test-live: $(VENV)/.dev
	tests/stack/install
	nice $(BIN)/python -m tests.stack.images
	$(BIN)/pytest -q -n $(WORKERS) -m live --durations=5

test-ui: $(VENV)/.dev
	tests/stack/install
	@mkdir -p $(PICTURES)
	UI_PICTURES=$(PICTURES) $(BIN)/pytest -q -m ui tests/ui --durations=5
	@echo "what the browser showed: $(PICTURES)"

test-faults: $(VENV)/.dev
	tests/stack/install
	EVERY_FAULT=1 $(BIN)/pytest -q -n $(WORKERS) -m live tests/live/faults tests/live/test_rollout_kubernetes_killed.py tests/live/test_executor_kubernetes.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.commands
	$(BIN)/python -m benchmarks.charts
	$(BIN)/python -m benchmarks.journal_append
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m benchmarks.pid1
	$(BIN)/python -m benchmarks.rollout
	$(BIN)/python -m benchmarks.provision
	$(BIN)/python -m benchmarks.server

pid1-score: $(VENV)/.dev
	tests/stack/install
	$(BIN)/python -m tests.score

judge-score: $(VENV)/.dev
	$(BIN)/python -m benchmarks.judge_score

lab: $(VENV)/.dev
	$(BIN)/sretoolkit lab

# A build next month is the same build: versions and hashes of everything, for every platform.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header --all-extras pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-header -c requirements-dev.lock --extra build pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache
