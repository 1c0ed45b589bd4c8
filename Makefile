# callwatch: every target sets up what it needs; nothing but git, make and Python >= 3.11 is expected.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DEFAULT_GOAL := help
.PHONY: help venv demo test check unit integration scenarios budgets bench bench-stream chaos soak docs lock clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY)  ## the virtual environment, with pinned packages

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "callwatch needs Python >= 3.11, this is " + sys.version.split()[0] + "; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY)  ## a labelled simulated day through the real pipeline; writes out/alerts.jsonl and out/report.html
	$(BIN)/callwatch demo

check: $(READY)  ## lint, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check unit integration  ## checks and all tests; the Kafka tests skip without a broker, unless CALLWATCH_REQUIRE_BROKER=1

# By files, so that what the tests of one share is made, and compiled, once.
unit: $(READY)  ## the tests that need no broker, on all cores
	$(BIN)/python -m detectors.warm
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not integration"

integration: $(READY)  ## the tests on a real Kafka: one for each core, unless CALLWATCH_TEST_KAFKA names one
	$(BIN)/python -m detectors.warm
	$(BIN)/python -m pytest -n auto --dist loadfile -m integration

$(PEERS_READY): requirements-peers.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --require-hashes -r requirements-peers.lock
	@touch $@

bench: $(READY) $(PEERS_READY)  ## speed and memory beside baselines, in one run; writes out/bench/*.json
	$(BIN)/python -m tests.bench

bench-stream: $(READY) $(PEERS_READY)  ## the worker on Kafka: speed beside other engines, delay, recovery; a part of bench
	$(BIN)/python -m tests.bench.stream

CHAOS ?=
chaos: $(READY)  ## kills, stops, rescales, broker restarts and damage on a real Kafka; writes out/chaos.json; CHAOS="--help"
	$(BIN)/python -m tests.chaos $(CHAOS)

SOAK ?=
soak: $(READY)  ## a worker for an hour at 2,000 events a second on a real Kafka: all must stay level; SOAK="--help"
	$(BIN)/python -m tests.soak $(SOAK)

SEEDS ?= 10
scenarios: $(READY)  ## play all scenarios with SEEDS seeds (10); fails where one is worse than its budget
	$(BIN)/callwatch evaluate --seeds $(SEEDS) --budgets tests/scenarios/budgets.toml

budgets: $(READY)  ## lower the budgets of scenarios that have become better
	$(BIN)/callwatch evaluate --seeds 10 --budgets tests/scenarios/budgets.toml --lower

docs: $(READY)  ## write the generated parts of docs/ again
	$(BIN)/python -m tests.docs

lock: $(READY)  ## resolve the lock files again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --group dev --extra receiver --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --group pyproject.toml:peers --custom-compile-command "make lock" -o requirements-peers.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) $(PEERS) .cache out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
