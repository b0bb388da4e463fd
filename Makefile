# Start with `make demo` and `make test`. The default Python uses .venv; PYTHON=python3.12 uses .venv-3.12, and so on.
DEFAULT_PYTHON := $(shell command -v python3.11 || command -v python3)
PYTHON ?= $(DEFAULT_PYTHON)
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV   := .venv$(if $(filter $(call version,$(DEFAULT_PYTHON)),$(call version,$(PYTHON))),,-$(call version,$(PYTHON)))
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest
BESIDE := --numprocesses $(TEST_PROCESSES) --dist loadfile
# Use the system's certificates, so that a package mirror with its own certificate authority works.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/*),true,false)

.PHONY: help setup demo test test-quick soak check lock docs docs-site clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create the environment and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(call version,$(PYTHON))" || { echo "error: '$(PYTHON)' does not start; install Python 3.10 to 3.13"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## synthesize words, preprocess on Spark, train on two workers, predict; writes ./demo
	$(BIN)/hybridspeech demo demo --overwrite

test: setup ## all tests, with real Spark, Ray and TensorFlowOnSpark processes, on TEST_PROCESSES processes (2)
	@failed=; \
	$(PYTEST) -m "not cluster" $(BESIDE) || failed="$$failed 'not cluster'"; \
	$(PYTEST) -m "cluster" $(BESIDE) || failed="$$failed 'cluster'"; \
	test -z "$$failed" || { echo "error: failed parts:$$failed"; exit 1; }

test-quick: setup ## tests that start no cluster and take no seconds, on TEST_PROCESSES processes (2)
	$(PYTEST) -m "not cluster and not slow" $(BESIDE)

soak: setup ## long and random tests, about 25 minutes
	$(BIN)/python -m pytest -m soak

check: setup ## ruff, mypy, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

docs: setup ## write the generated documents: docs/cli.md and docs/img/architecture.svg
	$(BIN)/python docs/make_cli_reference.py
	$(BIN)/python docs/make_architecture_picture.py

docs-site: setup ## build the documentation site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: setup ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m uv pip compile pyproject.toml --quiet --all-extras --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-header --upgrade --output-file requirements.lock

clean: ## remove the environments, the build folder and the output of the demo
	rm -rf .venv .venv-3.* build demo
