# One command per need; CI runs the same ones. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

RECENT := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
# The first one that is new enough; it is asked only when .venv has to be made.
PYTHON ?= $(or $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$one $(RECENT) 2>/dev/null && echo $$one && break; done),python3)
BIN := .venv/bin
STAMP := .venv/.synced
# uv works inside .venv only, with the interpreter that is there; an activated environment elsewhere is not touched.
UV := env -u VIRTUAL_ENV UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv
# Tests start many interpreters: what one has compiled the next one finds, whatever the environment says of bytecode.
COMPILED := env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/pycache
PYTEST := $(COMPILED) $(BIN)/pytest --durations=5 --ignore tests/docs

.PHONY: help setup demo test coverage sim fuzz soak check format bench docs reference clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything in it (needs Python 3.11+, make and PyPI)

$(STAMP): pyproject.toml uv.lock
	@[ -x $(BIN)/python ] && $(BIN)/python $(RECENT) || $(MAKE) --no-print-directory .venv
	@[ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(UV) sync --frozen --all-extras --quiet
	@touch $@
	@echo "ready: $$($(BIN)/python -V) in .venv"

.PHONY: .venv
.venv:
	@$(PYTHON) $(RECENT) 2>/dev/null || { found=$$($(PYTHON) -V 2>&1) || found="not there"; \
		echo "make setup needs Python 3.11 or newer; $(PYTHON) is $$found." >&2; \
		echo "Name another one: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }

demo: setup ## Run a team of agents to a finished document: no key, no account, no network
	@$(BIN)/python -m examples.release_notes

# Most tests wait now and then, so three at a time keep two cores busy, and their files are in memory where there is
# room (they need 0.3 GB). Tests that kill processes under load need the cores for themselves and a real disk, so they
# run last; they are all in one folder, for collecting the others takes ten seconds.
test: setup ## Run all tests (the documents' code blocks run in check)
	@status=0; memory=$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 2000000 { print $$6 }'); \
	TMPDIR=$${memory:-$$TMPDIR} $(PYTEST) -n 3 --dist loadfile -m "not faults" || status=1; \
	$(PYTEST) -n 2 --dist loadfile -m faults tests/faults || status=1; \
	exit $$status

# Measuring costs half as much again. What the faults are about runs in other processes, where nobody measures.
coverage: setup ## Run all tests but the faults, and print what they do not reach; under 80 % is an error
	@$(PYTEST) -n 2 --dist loadfile -m "not faults" --cov --cov-report=term:skip-covered --cov-fail-under=80

# One core each: a simulation has no threads. One that fails prints the command that does it again.
SEEDS ?= 20000
sim: setup ## Simulate engines, workers and a broker under faults, SEEDS times (SIM="--engines 3 --graph FILE")
	@$(COMPILED) $(BIN)/python -m tests.sim --seeds $(SEEDS) --jobs 2 $(SIM)

# Each case is drawn from its seed, kind and number alone; one that fails prints the command that plays it again.
SEED ?= 1
N ?= 50000
fuzz: setup ## Send N hostile requests, graphs, schemas, answers and records, drawn from SEED, to everything that reads them
	@$(COMPILED) $(BIN)/python -m tests.fuzz --seed $(SEED) --cases $(N) $(FUZZ)

check: setup ## Lint, types, import layers, document code blocks, schema drift
	@$(COMPILED) .ci/check

SECONDS ?= 600
soak: setup ## Soak a whole platform in traffic and harm for SECONDS, and judge it (SOAK="--seed 7 --engines 3")
	@$(COMPILED) $(BIN)/python -m tests.soak --seconds $(SECONDS) $(SOAK)

format: setup ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

bench: setup ## Measure the quality bars, with peers on the same machine (BENCH="--quick --only NAME")
	@$(BIN)/python -m bench $(BENCH)

docs: setup ## Build the documentation site into site/; broken links fail
	@$(BIN)/zensical build --clean --strict

reference: setup ## Write the pages of docs/reference/ from the source
	@$(BIN)/python -m tests.house.reference

clean: ## Remove all that the other targets made, .venv included
	rm -rf .venv site dist .bench .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache bench/peers/.venv bench/results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
