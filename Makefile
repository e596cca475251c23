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
EXAMPLES ?= 200
RUN := .venv/bin/python
TOOL := .venv/bin

# The first of these that is new enough makes .venv. Each is asked: a name on PATH may be a shim of nothing.
PYTHON ?= python3.13 python3.12 python3.11 python3 python3.14

.PHONY: help up test conformance check lint format types layers test-adversity test-programs test-container test-browser screenshots load bench bench-db lock schema fuzz clean FORCE

help: ## List every command
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/.run ## Set everything up and serve the API with live data (PORT=8000)
	@exec $(RUN) -m app.ops.up --port $(PORT)

test: .venv/.dev ## Set everything up and run the tests on a real PostgreSQL
	@$(TOOL)/pytest

conformance: .venv/.dev ## Run Django's own tests through app.db, and DRF's on app.rest (downloads them once)
	@$(RUN) -m tests.conformance.run_django_tests
	@$(RUN) -m tests.conformance.drf.run

check: lint types layers test test-adversity test-programs conformance test-browser test-container ## All that CI runs

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

test-adversity: .venv/.dev ## Test through PgBouncer and TLS (Debian's pgbouncer, openssl and wrk)
	@$(TOOL)/pytest -m packages tests

test-programs: .venv/.dev ## Test what starts whole programs or computes for seconds: load, benchmark, startresource
	@$(TOOL)/pytest -m programs tests

test-container: .venv/.dev ## Build the image and test the compose file on a Docker engine
	@$(TOOL)/pytest -m container tests

test-browser: .venv/.dev ## Test the browsable API in headless Chromium
	@$(TOOL)/pytest -m browser tests

screenshots: test-browser ## Take the pictures of the docs anew
	@cp var/screenshots/*.png docs/

load: .venv/.dev ## Put a bounded load on a running Stowage (URL=, USERS=50, SECONDS=30)
	@$(RUN) -m load --url $(URL) --users $(USERS) --seconds $(SECONDS)

bench: .venv/.dev ## Measure Stowage and its peers at the same work (needs wrk; 12 minutes; BENCH='--minutes 5')
	@$(RUN) -m load.bench $(BENCH)

bench-db: .venv/.dev ## Measure app.db against raw asyncpg and stock Django, in CPU time
	@$(RUN) -m load.bench.db

lock: .venv/.dev ## Resolve the lock files anew, keeping what still fits (needs uv; UPGRADE=1: the newest)
	@command -v uv >/dev/null || { echo "make lock needs uv on PATH: pip install uv" >&2; exit 1; }
	@compile() { uv pip compile -q $(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header pyproject.toml "$$@"; }; \
	compile --extra redis -o requirements-container.lock; \
	compile --extra embedded --extra redis -c requirements-container.lock -o requirements.lock; \
	compile --extra embedded --extra redis --group dev -c requirements.lock -o requirements-dev.lock; \
	uv pip compile -q $(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --no-header -c requirements.lock load/bench/peers.in -o load/bench/peers.lock

schema: .venv/.dev ## Write docs/openapi.yaml anew
	@DJANGO_SETTINGS_MODULE=settings.test DATABASE_URL=postgresql:///unused \
		$(RUN) manage.py spectacular --fail-on-warn --validate --file docs/openapi.yaml

fuzz: .venv/.dev ## Fuzz the API by its OpenAPI schema with schemathesis (EXAMPLES=200 an operation)
	@FUZZ_EXAMPLES=$(EXAMPLES) $(TOOL)/pytest --timeout 7200 -rP tests/openapi/test_fuzz.py

clean: ## Remove the environment, the caches and the tests' database; the data under var/postgres stays
	@[ ! -x $(RUN) ] || $(RUN) -c 'from pathlib import Path; from app.ops import embedded; \
		embedded.stop(Path("var/test/postgres"))'
	@rm -rf .venv var/test .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# What is installed is what a lock file says, word for word: a stamp holds its copy. uv installs where
# it is there, else pip; both refuse what has no hash or another one.
define install
	@cmp -s $(1) $@ || { \
		echo "Installing $(2), from $(1)"; \
		if command -v uv >/dev/null; then uv pip install -q --python $(RUN) --require-hashes -r $(1); \
		else $(RUN) -m pip install -qq --disable-pip-version-check --require-hashes -r $(1); fi; \
		cp $(1) $@; }
endef

.venv/.run: FORCE | .venv/bin/python
	$(call install,requirements.lock,what Stowage runs on)

.venv/.dev: FORCE | .venv/bin/python
	$(call install,requirements-dev.lock,what Stowage runs on and is tested with)
	@cp requirements.lock .venv/.run

# Made again when the interpreter that it was made with is gone.
.venv/bin/python: FORCE
	@$(RUN) -c '' 2>/dev/null || { \
		for python in $(PYTHON) ""; do \
			"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; done; \
		if [ -z "$$python" ]; then echo "Stowage needs Python 3.11 or newer, and here is" \
			"$$(python3 --version 2>/dev/null || echo none). Install one, or say where it is:" \
			"make PYTHON=/path/to/python3.13" >&2; exit 1; fi; \
		rm -rf .venv; \
		if command -v uv >/dev/null; then uv venv -q --python "$$python" .venv; \
		else "$$python" -m venv .venv >/dev/null || { rm -rf .venv; \
			echo "$$python can't make a virtual environment. On Debian and Ubuntu:" \
			"apt install python3-venv" >&2; exit 1; }; fi; }

FORCE:
