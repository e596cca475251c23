# Stowage's commands; `make help` lists them. Needs Python 3.11 or newer and make, and installs the rest
# into .venv from the lock files, with hashes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PORT ?= 8000
URL ?= http://127.0.0.1:$(PORT)
USERS ?= 50
SECONDS ?= 30
RUN := .venv/bin/python
TOOL := .venv/bin

# The first interpreter that is new enough. Each is asked, for a name on PATH may be a shim of nothing.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)

.PHONY: help up test check lint format types layers test-container test-browser load lock clean

help: ## List every command
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/.run ## Set everything up and serve the API with live data (PORT=8000)
	@exec $(RUN) -m app.ops.up --port $(PORT)

test: .venv/.dev ## Set everything up and run the tests on a real PostgreSQL
	@$(TOOL)/pytest

check: test lint types layers test-container test-browser ## All that CI runs

lint: .venv/.dev ## Lint, and check the format
	@$(TOOL)/ruff check
	@$(TOOL)/ruff format --check

format: .venv/.dev ## Format, and mend what the linter can mend
	@$(TOOL)/ruff check --fix
	@$(TOOL)/ruff format

types: .venv/.dev ## Check the types
	@$(TOOL)/mypy

layers: .venv/.dev ## Check who imports whom
	@$(TOOL)/lint-imports

test-container: .venv/.dev ## Build the image and test the compose file on a Docker engine
	@$(TOOL)/pytest -m container tests

test-browser: .venv/.dev ## Test the browsable API in headless Chromium
	@$(TOOL)/pytest -m browser tests

load: .venv/.dev ## Put a bounded load on a running Stowage (URL=, USERS=50, SECONDS=30)
	@$(RUN) -m load --url $(URL) --users $(USERS) --seconds $(SECONDS)

lock: .venv/.dev ## Resolve the lock files anew (needs uv)
	@compile() { uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header pyproject.toml "$$@"; }; \
	compile -o requirements-container.lock; \
	compile --extra embedded -c requirements-container.lock -o requirements.lock; \
	compile --extra embedded --group dev -c requirements.lock -o requirements-dev.lock

clean: ## Remove the environment and the caches; the data under var/ stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# uv where it is there, else pip; both refuse whatever has no hash or another one.
define install
	@if command -v uv >/dev/null; then uv pip install -q --python $(RUN) --require-hashes -r $(1); \
	else $(RUN) -m pip install -q --disable-pip-version-check --require-hashes -r $(1); fi
	@touch $@
endef

.venv/.run: requirements.lock | .venv
	@echo "Installing what Stowage runs on"
	$(call install,requirements.lock)

.venv/.dev: requirements-dev.lock | .venv
	@echo "Installing what Stowage runs on and is tested with"
	$(call install,requirements-dev.lock)
	@touch .venv/.run

.venv:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Stowage needs Python 3.11 or newer; $$(python3 --version 2>&1 || true) is what is here. Install one, or name it: make PYTHON=/path/to/python3.13 …" >&2; exit 1; fi
	@if command -v uv >/dev/null; then uv venv -q --python "$(PYTHON)" .venv; \
	else "$(PYTHON)" -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) can't make a virtual environment. On Debian and Ubuntu: apt install python3-venv." >&2; exit 1; }; fi
