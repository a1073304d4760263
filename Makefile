# make run    set up and do the main job against the embedded simulator; ends in a report
# make test-fast  the tests that are done at once and start no process, in less than a minute
# make test   set up and run the tests, several at once; ARGS='tests/guest -x' chooses some
# make test-long  the matrices, the accuracy table and what else takes hours
# make coverage  which branches of the pure packages their own tests do not reach
# make demo-capacity  find the limit of a small simulated service, in about five minutes
# make format lay the code out and mend what the lint can mend
# make check  formatting, lint, types, import contracts
# make crash-matrix  every fault, mode and ending of a run, and 500 random kills (two hours or so; ARGS=--resume goes on)
# make validity-matrix  does any run say PASS, or a time, that the truth does not bear out? (two hours or so; ARGS=--resume goes on)
# make evidence  how often the studies are right, on planted services and simulated guests (half an hour; ARGS='--only drift')
# make clean  remove what set-up made (reports/ is left alone)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
RUN_READY := $(VENV)/ready-run
DEV_READY := $(VENV)/ready-dev

# Tests start hundreds of processes: none is to compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait for processes more than they compute: more of them at once than there are cores.
TESTS_AT_ONCE ?= 6
ASIDE := .aside.log

.DEFAULT_GOAL := help
.PHONY: help run test test-aside test-others test-rates test-fast test-long test-longest coverage format check crash-matrix validity-matrix clean bench-accuracy bench-guest bench-long bench-master bench-start demo-capacity evidence

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

run: $(RUN_READY)
	@$(BIN)/harness run locustfiles/launch.py

demo-capacity: $(RUN_READY)
	@$(BIN)/harness capacity locustfiles/capacity.py --sim-profile locustfiles/capacity_twin.toml \
	  --objective 'reply p90 < 250ms' --start 600/min --highest 4800/min --hold 8s --longest 24s \
	  --warm-up 3s --settle 8s --resolution 0.12 --max-levels 9 --wanted 1500/min

# All in three parts at the same time: no test of what decides runs a second time to be counted.
test: $(DEV_READY)
ifeq ($(ARGS),)
	@$(MAKE) --jobs=3 test-aside test-others
else
	$(BIN)/python -m pytest -m 'not long' $(ARGS)
endif

test-others: $(DEV_READY)
	$(BIN)/python -m pytest -m 'not long' --folders other --numprocesses $(TESTS_AT_ONCE)

test-fast: $(DEV_READY)
	HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -m 'not (process or slow or rates or long)' $(or $(ARGS),--numprocesses 3)

test-long: test-longest
	$(MAKE) crash-matrix validity-matrix bench-accuracy bench-long ARGS=

test-longest: $(DEV_READY)
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -m 'long or not process' --timeout 3600 $(ARGS)

# What computes makes a little way for what must be in time; more, and it would end last, alone.
# Its words only where it fails: the other half shows how far the tests have come.
test-aside: $(DEV_READY)
	@nice -n 1 $(MAKE) coverage test-rates >$(ASIDE) 2>&1 || { cat $(ASIDE); exit 1; }
	@grep TOTAL $(ASIDE)

test-rates: $(DEV_READY)
	$(BIN)/python -m pytest -q -m 'not (pure or long)' --folders deciding

coverage: $(DEV_READY)
	$(BIN)/coverage run -m pytest -q -m pure --folders deciding
	$(BIN)/coverage report

format: $(DEV_READY)
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

check: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-start: $(DEV_READY)
	$(BIN)/python tests/benchmarks/start_cost.py $(ARGS)

bench-master: $(DEV_READY)
	$(BIN)/python tests/benchmarks/master_cost.py $(ARGS)

bench-guest: $(DEV_READY)
	$(BIN)/python tests/benchmarks/guest_speed.py

bench-accuracy: $(DEV_READY)
	$(BIN)/python tests/benchmarks/accuracy.py --write harness/measure/ACCURACY.md

bench-long: $(DEV_READY)
	$(BIN)/python tests/benchmarks/long_run.py $(ARGS)

evidence: $(DEV_READY)
	PYTHONPATH=. $(BIN)/python tests/benchmarks/evidence.py --write harness/studies/EVIDENCE.md $(ARGS)

crash-matrix: $(DEV_READY)
	$(BIN)/python tests/run/matrix.py --write harness/ledger/CRASH_MATRIX.md $(ARGS)

validity-matrix: $(DEV_READY)
	$(BIN)/python tests/run/validity.py --write harness/measure/VALIDITY_MATRIX.md $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage $(ASIDE)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "error: '$(PYTHON)' was not found. Install Python 3.11 or newer, or say which to use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $$($(PYTHON) --version 2>&1) is too old: Python 3.11 or newer is needed. Install it, or say which to use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "error: this Python has no 'venv' module. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)

$(RUN_READY): $(VENV)/bin/python requirements.txt pyproject.toml
	@$(PIP) install --require-hashes --requirement requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.txt
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@
