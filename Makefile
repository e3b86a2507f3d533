# Two commands: `make up` runs the workforce, `make test` proves it. Needs Python 3.11+ and make; uses uv where it is found.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
UP_FLAGS := $(if $(ONCE),--once) $(if $(ROUND),--round) $(if $(NO_TOUR),--no-tour) $(if $(PORT),--port $(PORT))

.PHONY: up setup fetch test test-long pytest lint types lock clean help

help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

up: setup fetch ## install, fetch the weights and run the workforce (ONCE=1: one round, then stop)
	@$(BIN)/hotdesk up $(UP_FLAGS)

setup: $(VENV)/.runtime ## install only

fetch: setup ## fetch the embedded weights, verified by hash
	@$(BIN)/hotdesk fetch

test: $(VENV)/.dev lint ## lint, types and tests, under 10 minutes on 2 cores
	@$(MAKE) --no-print-directory -j2 types pytest

test-long: $(VENV)/.dev lint ## everything, the long versions too
	@$(MAKE) --no-print-directory -j2 types pytest LONG=--long

pytest: $(VENV)/.dev
	@$(BIN)/python -m pytest $(LONG)

lint: $(VENV)/.dev ## style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## types
	@$(BIN)/basedpyright

# A stamp per lock, so that a second `make` costs nothing and a changed lock is installed.
$(VENV)/.runtime: requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(VENV)/.dev: tests/requirements.lock pyproject.toml
	$(call install,tests/requirements.lock)
	@touch $@ $(VENV)/.runtime

define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo "hotdesk needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say which: make up PYTHON=python3.12" >&2; exit 1; }
@echo "installing from $(1) with $(if $(UV),uv,venv and pip)"
$(if $(UV),\
@test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) $(VENV)
@VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --require-hashes --compile-bytecode -r $(1)
@VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --quiet --no-deps --no-build-isolation -e .,\
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $(1)
@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .)
endef

# Both locks carry hashes and no index lines: the machine's own registry settings decide where from.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra build
lock: ## write the locks anew (needs uv)
	$(LOCK) -o requirements.lock
	$(LOCK) --extra dev -c requirements.lock -o tests/requirements.lock

clean: ## remove the environment; state and outputs stay
	rm -rf $(VENV)
