"""
Readable Traces: what finetuning leaves in the residual stream, and how to read it.

`snakemake --list` reads as the method; `snakemake --cores 2` runs the default study, the miniature.
"""

from pathlib import Path

from snakemake.utils import min_version

from traces.config.files import read_yaml

min_version("9.27")  # what constraints.txt pins; no older one was tried

DEFAULTS = Path("config/config.yaml")
if DEFAULTS.exists():
    read_yaml(DEFAULTS)  # before Snakemake, whose message would not say where it is malformed


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/subjects.smk"
include: "rules/resources.smk"


report: "data/captions/study.rst"


pathvars:
    results=FOLDERS["results"],
    logs=FOLDERS["logs"],
    benchmarks=FOLDERS["benchmarks"],


wildcard_constraints:
    model=one_of(registry.models),
    organism=one_of(registry.organisms),
    corpus=one_of(registry.corpora),
    ablation=one_of(study.ablations),
    checkpoint=CHECKPOINT,


# In the order in which they run.
include: "rules/miniature.smk"
include: "rules/corpora.smk"
include: "rules/training.smk"
include: "rules/activations.smk"
include: "rules/differences.smk"
include: "rules/samples.smk"
include: "rules/lenses.smk"
include: "rules/steering.smk"
include: "rules/causality.smk"
include: "rules/beliefs.smk"
include: "rules/judges.smk"
include: "rules/agents.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/grades.smk"
include: "rules/benchmark.smk"
include: "rules/pages.smk"


rule all:
    """Run the whole study: tables, figures, a card for every organism, the report, and index.html."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.cards.input,
        rules.report.output,
        rules.landing_page.output,


rule mixing:
    """Make the ablation over mixing ratios: a table, a picture and a paragraph on what they show."""
    input:
        mixing_shown,


# Last, for they go through all rules: the files that were asked for by name, what other code made,
# and what a cluster is asked for.
include: "rules/targets.smk"
include: "rules/kept.smk"
include: "rules/cluster.smk"
