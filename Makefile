# make run | test | lint | bench | storm | docs | lock | clean      ARGS="..." go to the command behind it
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Hundreds of processes are started, by the tests above all: none should compile every module anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test lint bench storm docs lock clean

run: $(READY)
	@$(BIN)/gateway serve $(ARGS)

# All of it, four files at once (much of it waits), in their order: short ones come last.
# With ARGS: as they say.
test: $(READY)
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),--numprocesses 4 --dist loadfile --no-loadscope-reorder)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

# Break everything at random, then hold the ledger against what the upstreams bill.
storm: $(READY)
	@$(BIN)/python -m tests.storm $(ARGS)

# The reference tables of the guides, dashboards and alert rules in deploy/: from the code.
docs: $(READY)
	@$(BIN)/python -m gateway.reference
	@$(BIN)/python -m gateway.telemetry.deploy_files

# The exact versions of requirements.lock, each checked by its hash; uv is used where it is found.
$(READY): requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements.lock && \
	  uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
	else \
	  echo "Setting up $(VENV) (once) ..." && \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
	fi
	@touch $@

lock:
	@uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --group weights --group dev \
	  --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --no-header -q -o requirements.lock $(ARGS)

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist test-output *.egg-info
