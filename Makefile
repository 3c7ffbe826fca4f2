# Everything a developer, a reviewer or CI runs is a target here; `make help` lists them.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
UV_PIN := uv==0.13.9

# uv does not read pip's settings: hand on folders of local wheels.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

RUNTIME := $(VENV)/.installed-runtime
DEV     := $(VENV)/.installed-dev
TRAIN   := $(VENV)/.installed-train

# torch has an environment of its own: everything else must run without it.
MODELS_VENV ?= .venv-models
MODEL_TESTS := tests/models tests/contract/test_restorers.py tests/contract/test_segmenters.py

# Installs into the virtual environment: with uv when it is there, else with its pip. Compiled as pip does, so
# that no process has to, where the environment forbids Python to keep what it compiled.
define install
	@if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(1); \
	else $(BIN)/python -m pip install --quiet $(1); fi
endef

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-models chaos check format bench up up-embedded verify-images docs lock

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(DEV)  ## Create .venv with the locked requirements and the development tools

demo: $(RUNTIME)  ## Compress the sample slide in the real service and show it (ONCE=1: then stop)
	@$(BIN)/python -m adaslide_api.demo $(if $(ONCE),--once)

# Files side by side, from the longest on: most of the long ones wait for servers.
ALL_TESTS := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(DEV)  ## Run every test (T="tests/unit -k grid" for some)
	$(BIN)/python -m pytest $(or $(T),$(ALL_TESTS))

test-models:  ## Tests of models/ with torch, in .venv-models (T=... for some)
	@$(MAKE) --no-print-directory VENV=$(MODELS_VENV) $(MODELS_VENV)/.installed-train
	$(MODELS_VENV)/bin/python -m pytest $(or $(T),$(MODEL_TESTS))

chaos: $(DEV)  ## Hurt a cluster on real servers (SCENARIOS=200 SEED=0)
	CHAOS_SCENARIOS=$(or $(SCENARIOS),200) CHAOS_SEED=$(or $(SEED),0) $(BIN)/python -m pytest -s tests/chaos

check: $(DEV)  ## Formatting, lint, types, import contracts, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

format: $(DEV)  ## Format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV)  ## Run the benchmarks; results go to benchmarks/results
	@set -e; for script in benchmarks/bench_*.py; do echo "$$script"; $(BIN)/python $$script; done

up:  ## Build the images and start the whole service with Docker Compose (PROFILES="tls monitoring gpu" for more)
	@$(PYTHON) deploy/make_env.py
	docker compose $(addprefix --profile ,$(PROFILES)) up --build

up-embedded:  ## Build and start the small service: one container, SQLite, a folder
	docker compose --file deploy/compose.embedded.yml up --build

verify-images:  ## Run every instruction of the Dockerfile with buildah on a stand-in base (root, Debian)
	deploy/verify_images.sh

docs: $(DEV)  ## Build the documentation into site/, strictly
	$(BIN)/mkdocs build --strict

lock: $(BIN)/python  ## Bring the lock files to pyproject.toml (UPGRADE=--upgrade: to the newest releases)
	printf '%s\n' $(BUILD) | $(BIN)/uv pip compile --quiet $(LOCK_OPTIONS) --extra api --extra worker \
		pyproject.toml - -o requirements.lock
	printf '%s\n' $(BUILD) | $(BIN)/uv pip compile --quiet $(LOCK_OPTIONS) --extra api --extra worker --extra dev \
		-c requirements.lock pyproject.toml - -o requirements-dev.lock

# The build backend (as in pyproject) is locked too: an install fetches nothing unpinned.
BUILD := 'hatchling>=1.27' 'editables>=0.5'
# One lock for every platform and Python; no index or host is written into it.
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "AdaSlide needs Python 3.11 or newer, and '$(PYTHON)' is not; try: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV_PIN) \
		|| echo "no uv to be had: pip will install, more slowly"

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing the runtime requirements"
	$(call install,-r requirements.lock)
	$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "installing the development tools"
	$(call install,-r requirements-dev.lock)
	@touch $@

$(TRAIN): $(DEV)
	@echo "installing torch"
	$(call install,--no-build-isolation --editable '.[train]')
	@touch $@
