# Everything runs in a local .venv from hash-locked requirements; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
STAMP := $(VENV)/.installed
LABELLED := $(or $(DATA),tests/data)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-parts test-commands check format docs bench eval torture audit e2e-ollama e2e-s3 lock clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## create .venv and install the locked requirements

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bifrost-flow needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …"; exit 1; }
	@echo "Installing the locked requirements into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes --compile-bytecode -r requirements.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: install ## run the main job on the real logs that ship with the project, offline
	@$(BIN)/bifrost-flow run tests/data/logs --provider rules --warehouse bifrost-warehouse

test: install ## run the tests: those within the process beside those of whole commands
	@$(MAKE) --no-print-directory -j2 test-parts test-commands

# Those of commands take longer: two files of them go with the parts.
EVEN := tests/e2e/test_hostile_logs.py tests/e2e/test_prompts.py

test-parts: install
	$(BIN)/python -m pytest tests/unit tests/integration $(EVEN)

test-commands: install
	$(BIN)/python -m pytest tests/e2e $(EVEN:%=--ignore=%)

check: install ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check --error-on-warning
	$(BIN)/lint-imports

format: install ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install ## renew docs/reference.md from the code
	$(BIN)/python docs/generate_reference.py

bench: install ## measure speed and size against their bars, in ratios within one run: make bench BENCH="read memory --mb 10000"
	@$(BIN)/python -m tests.bench $(BENCH)

torture: install ## try to break it, with seeds printed: make torture TORTURE="kill fuzz --minutes 30"
	@$(BIN)/python -m tests.torture $(TORTURE)

eval: install ## score the extractor on the labelled logs that ship here, or on a folder: make eval DATA=…
	@$(BIN)/bifrost-flow evaluate $(LABELLED) --budget 500,1000,2000,4000 --misses $(if $(wildcard $(LABELLED)/event_labels.jsonl),--events)

audit: ## ask a database of advisories about every locked package (exit code 4 of .ci/audit: it is out of reach)
	@.ci/audit

e2e-ollama: install ## install a real Ollama with a small model, and run the tests that ask it
	@.ci/e2e-ollama

e2e-s3: install ## start a real Ceph S3 gateway in memory, and run the tests of buckets against it
	@.ci/e2e-s3

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

lock: ## renew the locks from pyproject.toml: requirements.txt, and of it what the container images install
	$(LOCK) pyproject.toml --group dev --extra dask --output-file requirements.txt
	$(LOCK) pyproject.toml --constraint requirements.txt --output-file docker/requirements.txt
	$(LOCK) pyproject.toml --extra dask --extra ray --constraint requirements.txt --output-file docker/cluster-requirements.txt
	$(LOCK) --group build --constraint requirements.txt --output-file docker/build-requirements.txt

clean: ## remove what the targets made
	rm -rf $(VENV) .audit-venv .llama-venv .llama-venv.log .ollama-venv .tools-venv .tools-venv.log .ray.log bifrost-warehouse
