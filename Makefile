# Two commands do all: `make demo` and `make test`. Both set up first, once.
#   PYTHON=...  the interpreter to build on; when it has its own torch >= 2.9 (CUDA, say), that one is used
#   VENV=...    the virtual environment to use or to make
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

.PHONY: setup demo test lint type unit clean
.DELETE_ON_ERROR:

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tools/setup.sh
	PYTHON="$(PYTHON)" VENV="$(VENV)" bash tools/setup.sh
	touch $@

demo: setup
	$(VENV)/bin/python -m benchmarks.demo --out runs/demo

test: lint type unit

lint: setup
	$(VENV)/bin/ruff check .

type: setup
	$(VENV)/bin/mypy

# One torch thread per test process: more only fight for the same cores.
unit: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term --durations=10

clean:
	rm -rf build dist runs .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
