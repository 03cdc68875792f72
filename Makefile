# A bare machine needs python3.11+ (with venv) and make; everything else installs itself into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv

unexport PYTHONDONTWRITEBYTECODE # what is compiled once is not compiled by each process of a test run

.PHONY: demo test ci bench bench-keep soak lock format lint types imports docs wheel changelog clean

$(VENV)/.ready: pyproject.toml requirements/dev.txt
	test -x $(UV) || ($(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q --disable-pip-version-check uv)
	$(UV) pip install -q --python $(VENV) --require-hashes --compile-bytecode -r requirements/dev.txt
	$(UV) pip install -q --python $(VENV) --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/.ready ## walk through the recorded incident
	$(BIN)/kubewitness demo

test: $(VENV)/.ready ## all tests; a missing external tool skips by name
	$(BIN)/pytest

PEERS := benchmarks/out/peers
$(PEERS)/.ready: requirements/bench.txt $(VENV)/.ready
	mkdir -p benchmarks/out
	$(UV) venv -q --clear --python $(BIN)/python $(PEERS)
	$(UV) pip install -q --python $(PEERS) --require-hashes --compile-bytecode -r requirements/bench.txt
	touch $@

bench: $(PEERS)/.ready ## ratio tables against the peers found on this machine; BENCH="--size 100MB --only needle"
	$(BIN)/python -m benchmarks $(BENCH)

bench-keep: $(VENV)/.ready ## from a POST to its acknowledgement, beside sealing and indexing; BENCH="--rounds 3"
	mkdir -p benchmarks/out
	$(BIN)/python -m benchmarks.keep $(BENCH)

soak: $(VENV)/.ready ## the long runs, over an hour; SOAK="tests/crash", SOAK="-k exact" choose: docs/how-to/run-the-tests.md
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -m soak -v --durations 0 --durations-min 1 --hypothesis-show-statistics $(SOAK)

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.ready
	$(BIN)/mypy
	$(BIN)/mypy tools benchmarks

imports: $(VENV)/.ready
	$(BIN)/lint-imports

docs: $(VENV)/.ready ## generated parts are current, then the site builds strictly
	$(BIN)/python -m tools.generate --check
	$(BIN)/zensical build --strict --clean

wheel: $(VENV)/.ready ## the built wheel in a clean place, with run-time dependencies only
	bash tools/check-wheel.sh

ci: lint imports types ## what .ci/run runs
	KUBEWITNESS_NO_SKIP=1 $(BIN)/pytest
	$(MAKE) docs wheel

lock: $(VENV)/.ready ## resolve again; the lock files name no registry host
	cd requirements && ../$(UV) pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade dev.in -o dev.txt
	cd requirements && ../$(UV) pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade run.in -o run.txt
	cd requirements && ../$(UV) pip compile -q --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade bench.in -o bench.txt

changelog: $(VENV)/.ready
	$(BIN)/towncrier build --yes

clean:
	rm -rf $(VENV) $(PEERS) site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
