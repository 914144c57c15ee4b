# Two commands do everything: `make demo` and `make test`. Neither needs root.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
LOCKED  = $(shell sed -n 's/^\([a-z0-9._-]*\)==.*/\1/p' requirements.lock)

.PHONY: env demo test check bench peers clean wheel lock

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@deploy/check-system.sh $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: env
	$(BIN)/sovereign demo

test: env
	$(BIN)/python -m pytest -q $(PYTEST_ARGS)

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p build/typed && ln -sfn ../.. build/typed/sovereign && ln -sfn ../../enclave_signer build/typed/enclave_signer
	cd build && ../$(BIN)/mypy --no-error-summary --config-file ../pyproject.toml -p sovereign.runtime -p sovereign.messages -p sovereign.topology -p sovereign.actors -p sovereign.cli -p sovereign.benchmarks -p enclave_signer
	$(BIN)/lint-imports

wheel: env
	rm -rf build/wheel && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .

bench: env peers
	mkdir -p benchmarks/results
	$(BIN)/sovereign bench hop --peers --json > benchmarks/results/hop.json
	$(BIN)/sovereign bench node --json > benchmarks/results/node.json
	$(BIN)/sovereign bench start --json > benchmarks/results/start.json
	$(BIN)/sovereign bench throughput --peers --json > benchmarks/results/throughput.json
	$(BIN)/sovereign bench plot

peers: $(STAMP)-bench

$(STAMP)-bench: requirements-bench.lock deploy/bench-system.sh $(STAMP)
	@deploy/bench-system.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock && touch $@ || echo "the Python peers are left out" >&2

lock:
	uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-annotate -o requirements.lock
	uv pip compile pyproject.toml --extra bench --constraint requirements.lock $(LOCKED:%=--no-emit-package %) --generate-hashes --no-header --no-annotate -o requirements-bench.lock

clean:
	rm -rf $(VENV) build dist *.egg-info
