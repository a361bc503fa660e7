# The two commands: `make demo` runs the whole chain on embedded defaults, `make test` passes the tests.
# Both set themselves up from nothing but python3 (3.11, with venv), make and git.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= data/demo
PYTEST ?= $(BIN)/python -m pytest

export DAGSTER_DISABLE_TELEMETRY := yes
export GX_ANALYTICS_ENABLED := false

.PHONY: demo dev test lint format lock bench-chain bench-engine bench-burned-in bench-census bench-harvest bench-staleness score clean help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/.ready ## the whole chain on embedded services and a sample population
	$(BIN)/pacs-pipeline demo run --data $(DATA)

dev: $(VENV)/.ready ## the Dagster UI with the same embedded services
	$(BIN)/pacs-pipeline demo dev --data $(DATA)

test: $(VENV)/.ready-dev ## all tests; servers that are missing are skipped with a reason
	$(PYTEST)

lint: $(VENV)/.ready-dev ## ruff, mypy, import-linter, dg check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/dg check defs
	$(BIN)/dagster definitions validate -w workspace.yaml

format: $(VENV)/.ready-dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## resolve the lock files again (needs uv)
	uv pip compile pyproject.toml --extra demo --group build --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" --quiet -o requirements.lock
	uv pip compile pyproject.toml --extra demo --extra pixels --group build --group dev --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" --quiet -c requirements.lock -o requirements-dev.lock

bench-chain: $(VENV)/.ready-dev ## end to end against the floor of plain tools; see benchmarks/README.md
	$(BIN)/python -m benchmarks.chain

bench-engine: $(VENV)/.ready-dev ## the de-identification engine against pydicom, deid and gdcmanon
	$(BIN)/python -m benchmarks.engine

bench-census: $(VENV)/.ready-dev ## the census of a simulated archive of a million studies
	$(BIN)/python -m benchmarks.census

bench-harvest: $(VENV)/.ready-dev ## C-MOVE, C-GET and WADO-RS against DCMTK's own tools and plain HTTP; a 2 GB object
	$(BIN)/python -m benchmarks.harvest
	$(BIN)/python -m benchmarks.harvest.wado

bench-staleness: $(VENV)/.ready-dev ## how fast the sensor decides over ten years of thirty sites
	$(BIN)/python -m benchmarks.staleness

bench-burned-in: $(VENV)/.ready-dev ## burned-in text: blanked, withheld or missed in silence; and its cost
	$(BIN)/python -m benchmarks.burned_in

score: $(VENV)/.ready-dev ## planted identifiers through the project and its peers; fails on any leak
	$(BIN)/python -m benchmarks.deidentification

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) $(DATA)
