"""
Pictures of the tables, a card for every organism, and the report that holds them.

    out  figures/{relevance,norms,losses}.{png,pdf}   cards/{model}/{organism}.html   report.html
"""


rule relevance_figure:
    """Draw every organism's relevance beside its controls, with intervals over seeds."""
    input:
        readability=rules.readability_table.output.table,
        relevance=rules.relevance_table.output.table,
        code=code("figures"),
    output:
        png=report(
            "<results>/figures/relevance.png",
            caption="../data/captions/relevance_figure.rst",
            category="1 What the lenses read",
        ),
        pdf="<results>/figures/relevance.pdf",
    params:
        corpus=study.corpora[0],
        layers={},
        positions=None,
        control=study.control,
        titles=titles(),
    log:
        "<logs>/relevance_figure.log",
    benchmark:
        "<benchmarks>/relevance_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/relevance_figure.py"


rule norms_figure:
    """Draw the size and the constancy of every difference, by position and layer."""
    input:
        norms=rules.norms_table.output.table,
        code=code("figures"),
    output:
        png=report(
            "<results>/figures/norms.png",
            caption="../data/captions/norms_figure.rst",
            category="2 How large the offset is",
        ),
        pdf="<results>/figures/norms.pdf",
    params:
        titles=titles(),
    log:
        "<logs>/norms_figure.log",
    benchmark:
        "<benchmarks>/norms_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/norms_figure.py"


rule losses_figure:
    """Draw the loss curves of every training."""
    input:
        losses=rules.losses_table.output.table,
        code=code("figures"),
    output:
        png=report(
            "<results>/figures/losses.png",
            caption="../data/captions/losses_figure.rst",
            category="3 How the organisms were trained",
        ),
        pdf="<results>/figures/losses.pdf",
    params:
        titles=titles(),
    log:
        "<logs>/losses_figure.log",
    benchmark:
        "<benchmarks>/losses_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/losses_figure.py"


rule figures:
    """Draw every figure."""
    input:
        rules.relevance_figure.output,
        rules.norms_figure.output,
        rules.losses_figure.output,
