# One entry for everything. Variables: METHOD DATASET BACKBONE POOLING LOSS WEIGHTS RERANK FREEZE METHODS SET RUN FILE WORKERS ENGINE
#   make bench METHOD=delg POOLING=gem SET="train.epochs=2 seed=1"

# The first interpreter that runs and is new enough.
PYTHON ?= $(shell for one in python3.11 python3.12 python3.13 python3; do \
	"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$one"; break; }; done)
METHOD ?= delg
METHODS ?= gem delg
FILE ?= configs/studies/poolings.yaml
TEST_WORKERS ?= 2
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
RUN_CLI := $(BIN)/retrieval-bench

SETTINGS = $(if $(DATASET),dataset=$(DATASET)) $(if $(BACKBONE),backbone=$(BACKBONE)) $(if $(POOLING),pooling=$(POOLING)) \
	$(if $(LOSS),loss=$(LOSS)) $(if $(WEIGHTS),weights=$(WEIGHTS)) $(if $(RERANK),rerank=$(RERANK)) \
	$(if $(FREEZE),train.freeze=$(FREEZE)) $(SET)

# Threads that spin while they wait starve everything else on a machine of few cores.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup bench compare study train extract evaluate report data test test-slow lint notebooks clean

help: ## list the targets
	@echo 'make TARGET [METHOD=delg] [DATASET=synthetic] [BACKBONE=..] [POOLING=..] [LOSS=..] [WEIGHTS=FILE] [RERANK=..] [FREEZE=backbone] [SET="key=value ..."]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv and install the pinned versions

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: install one, or set PYTHON=/path/to/python3"; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -c 'import torch, torchvision.ops'
	@touch $@

bench: $(READY) ## train, extract, search, re-rank, evaluate, report one METHOD
	$(RUN_CLI) bench $(METHOD) $(SETTINGS)

compare: $(READY) ## METHODS="gem gem:pooling=mac delg" side by side; finished runs are not repeated
	$(RUN_CLI) compare --methods "$(METHODS)" $(SETTINGS)

study: $(READY) ## the grid of runs in FILE, on WORKERS processes; recorded runs are not repeated
	$(RUN_CLI) study $(FILE) $(if $(WORKERS),--workers $(WORKERS)) $(if $(ENGINE),--engine $(ENGINE)) $(SETTINGS)

train: $(READY) ## train METHOD and write a checkpoint
	$(RUN_CLI) train $(METHOD) $(SETTINGS)

extract: $(READY) ## describe queries and database of DATASET with WEIGHTS
	$(RUN_CLI) extract $(METHOD) $(SETTINGS)

evaluate: $(READY) ## evaluate METHOD with WEIGHTS, or score the run folder RUN again
	$(RUN_CLI) evaluate $(or $(RUN),$(METHOD) $(SETTINGS))

report: $(READY) ## print and write again the report of RUN (default: the latest run)
	$(RUN_CLI) report $(RUN)

data: $(READY) ## fetch or build DATASET (default: synthetic) and check it
	$(RUN_CLI) data prepare $(or $(DATASET),synthetic)
	$(RUN_CLI) data verify $(or $(DATASET),synthetic)

test: $(READY) ## the test suite
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(READY) ## the tests that take minutes each: compilers, every family of timm, all checks of large parts
	$(BIN)/python -m pytest -m slow -vv -n $(TEST_WORKERS) --dist worksteal --timeout 1800 --durations 20

lint: $(READY) ## ruff (lint and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(READY) ## execute the notebooks in place
	$(BIN)/python notebooks/execute.py notebooks/*.ipynb

clean: ## remove .venv, caches and build products; runs and datasets stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
