# Two commands: `make demo` (watch it work) and `make test` (see it proven). Everything lives in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Trust what the system trusts, so that a package mirror with a certificate of its own works.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/*),true,false)

.PHONY: help setup demo test test-quick soak check lock docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no python3.11 or python3 on PATH; install Python 3.10 to 3.13"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## synthesise words, preprocess on Spark, train on two workers, predict: ./demo
	$(BIN)/hybridspeech demo demo --overwrite

test: setup ## all tests, with real Spark, Ray and TensorFlowOnSpark processes
	$(BIN)/python -m pytest

test-quick: setup ## the tests that start no cluster
	$(BIN)/python -m pytest -m "not cluster"

soak: setup ## the long random tests of survival, about 25 minutes
	$(BIN)/python -m pytest -m soak

check: setup ## ruff, mypy, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

docs: setup ## write docs/cli.md anew from the code
	$(BIN)/python docs/make_cli_reference.py

lock: setup ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m uv pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements.lock

clean: ## remove .venv and what the demo made
	rm -rf $(VENV) demo
