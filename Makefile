# callwatch: every target sets up what it needs; nothing but git, make and Python >= 3.11 is expected.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DEFAULT_GOAL := help
.PHONY: help venv demo test check unit integration scenarios budgets bench docs lock clean

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

unit: $(READY)  ## the tests that need no broker, on all cores
	$(BIN)/python -m detectors.warm
	$(BIN)/python -m pytest -n auto -m "not integration"

integration: $(READY)  ## the tests on a real Kafka
	$(BIN)/python -m pytest -m integration

bench: $(READY)  ## speed and memory beside baselines, in one run; writes out/bench/*.json
	$(BIN)/python -m tests.bench

SEEDS ?= 10
scenarios: $(READY)  ## play all scenarios with SEEDS seeds (10); fails where one is worse than its budget
	$(BIN)/callwatch evaluate --seeds $(SEEDS) --budgets tests/scenarios/budgets.toml

budgets: $(READY)  ## lower the budgets of scenarios that have become better
	$(BIN)/callwatch evaluate --seeds 10 --budgets tests/scenarios/budgets.toml --lower

docs: $(READY)  ## write the generated parts of docs/ again
	$(BIN)/python -m tests.docs

lock: $(READY)  ## resolve requirements.lock again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --group dev --extra receiver --custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:  ## remove what the targets made
	rm -rf $(VENV) .cache out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
