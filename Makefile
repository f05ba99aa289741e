# Two commands do all: `make demo` and `make test`. Both set up first, once.
#   PYTHON=...  the interpreter to build on; when it has its own torch >= 2.9 (CUDA, say), that one is used
#   VENV=...    the virtual environment to use or to make
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

.PHONY: setup demo test lint type unit gpu clean
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

# On a machine with a CUDA device: the tests that need one, and the tables of benchmarks/README.md that were made on one.
gpu: setup
	$(VENV)/bin/python -c "import sys, torch; sys.exit(None if torch.cuda.is_available() else 'make gpu: torch sees no CUDA device here.')"
	$(VENV)/bin/python -m pytest -m gpu
	$(VENV)/bin/python -m benchmarks.training --config paper --batch 256 --micro-batch 8 --quick --out runs/gpu/training
	$(VENV)/bin/python -m benchmarks.latency --preset paper --part full --repeats 1 --compile --out runs/gpu/latency
	$(VENV)/bin/python -m benchmarks.latency --preset paper --part batches,deadline --precision bf16 --compile --batches 1,4 --batch-samples 32 \
	    --deadline-plans 20 --out runs/gpu/latency-batches

clean:
	rm -rf build dist runs .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
