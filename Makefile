# `make demo` and `make test` need nothing but a python3 of 3.11 or later and a package index.
# PYTHON=python3.12 VENV=/tmp/venv312 choose another interpreter and another place.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 3
RUN := $(VENV)/bin/python

# The tests start a hundred processes of ours: what one of them has compiled, the next need not.
export PYTHONDONTWRITEBYTECODE :=

PYTEST := $(RUN) -m pytest --dist loadfile

# Real time on a machine of which nothing is known: what is broken fails twice, a hiccup does not.
SOCKETS := $(PYTEST) -n $(WORKERS) --reruns 1 tests/sockets

# Clients that others wrote, from npm: they are fetched, which a test of ours must not depend on.
FETCHED := tests/conformance/npm
OTHERS := $(PYTEST) -n $(WORKERS) --ignore tests/sockets --ignore $(FETCHED)

.PHONY: demo test quick conformance lint types check bench scorecard clean

demo: $(VENV)/ready
	$(VENV)/bin/vtrans demo

test: $(VENV)/ready
	$(OTHERS)
	$(SOCKETS)

quick: $(VENV)/ready
	$(OTHERS) -m "not slow"
	$(SOCKETS) -m "not slow"

conformance: $(VENV)/ready
	$(RUN) -m pytest $(FETCHED)

lint: $(VENV)/linters
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/linters
	$(RUN) -m mypy

check: lint types test

bench: $(VENV)/ready
	$(RUN) -m benchmarks

scorecard: $(VENV)/ready
	$(RUN) -m tests.scorecard --short

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "vtrans-hybrid needs Python 3.11 or later, and '$(PYTHON)' is not: try make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks the venv module: install it (Debian: apt install python3-venv) or choose another PYTHON" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[cli,test]'
	@touch $@

$(VENV)/linters: $(VENV)/ready
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@
