# Everything a person does with this repository. The first call makes .venv, which takes minutes, once.

SHELL := bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
BIN := .venv/bin
READY := .venv/ready
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help demo test check bench lock clean schemas

help: ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(READY) ## run the miniature study: results/, figures and report.html, in minutes
	$(RUN) snakemake --cores $(CORES)

test: $(READY) ## run the tests
	$(RUN) pytest

check: $(READY) ## lint and type-check: ruff, snakefmt, snakemake --lint, pyright
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) snakemake --lint
	$(RUN) pyright

bench: $(READY) ## measure the fast paths against the straightforward ones
	$(RUN) python tools/bench.py results/tables/bench.parquet

schemas: $(READY) ## write config/schemas/ from the typed configuration
	$(RUN) python -m traces.config config/schemas

lock: $(READY) ## resolve requirements.in into constraints.txt
	$(BIN)/python -m pip install --quiet uv
	tools/lock requirements.in constraints.txt

clean: ## delete what the workflow made; keeps .venv
	rm -rf results logs benchmarks .snakemake

$(READY): requirements.in constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.in -c constraints.txt
	touch $@
