# make run: everything set up, then the window with the demo teacher (without a display: the same in the terminal).
# make test: everything set up, then all tests.
PYTHON := .venv/bin/python
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run setup setup-dev test lint types contracts check record-demo screenshots demo-teacher wheel clean

help:
	@echo "make run           set up and open the window with the demo teacher"
	@echo "make test          set up and run all tests"
	@echo "make check         lint, types, import contracts and all tests"
	@echo "make lint | types | contracts | record-demo | screenshots | demo-teacher | wheel | clean"

setup:
	@packaging/setup.sh run

setup-dev:
	@packaging/setup.sh dev

run: setup
	@if packaging/setup.sh can-show; then \
	    exec $(PYTHON) -m abd_app gui --demo; \
	else \
	    echo "Doing the same job in the terminal: abd-app demo"; \
	    exec $(PYTHON) -m abd_app demo; \
	fi

# One thread per test process: two processes of two threads each would fight for two cores. Without the variable, which
# some environments set, the processes that tests start keep the compiled modules instead of making them anew each.
test: setup-dev
	@env -u PYTHONDONTWRITEBYTECODE QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(PYTEST_WORKERS) --dist worksteal 2>&1

lint: setup-dev
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types: setup-dev
	$(PYTHON) -m mypy

contracts: setup-dev
	.venv/bin/lint-imports --no-logo

check: lint types contracts test

# Runs the built-in demo (minutes) and records it for the README's pictures; best on a machine that does nothing else.
record-demo: setup-dev
	$(PYTHON) docs/record_demo.py

# Renders the README's pictures of that recording from the real widgets.
screenshots: setup-dev
	QT_QPA_PLATFORM=offscreen $(PYTHON) docs/make_screenshots.py

# Draws the road signs, plants the backdoor and trains the teacher in resources/demo again.
demo-teacher: setup-dev
	$(PYTHON) resources/demo/make_demo.py

wheel: setup-dev
	$(PYTHON) -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
