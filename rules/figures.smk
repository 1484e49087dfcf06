"""
Pictures of the tables, a card for every organism, and the report that holds them.

    out  figures/{relevance,norms,losses}.{png,pdf}   cards/{model}/{organism}.html
         study.json   report.html
"""


localrules:
    report,


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
    log:
        "<logs>/relevance_figure.log",
    benchmark:
        "<benchmarks>/relevance_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        corpus=study.corpora[0],
        layers={},
        positions=None,
        control=study.control,
        titles=titles(),
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
    log:
        "<logs>/norms_figure.log",
    benchmark:
        "<benchmarks>/norms_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        titles=titles(),
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
    log:
        "<logs>/losses_figure.log",
    benchmark:
        "<benchmarks>/losses_figure.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        titles=titles(),
    script:
        "../scripts/losses_figure.py"


rule organism_card:
    """Make one page an organism: what it was trained on, what the lenses read, its controls."""
    input:
        readability=rules.readability_table.output.table,
        relevance=rules.relevance_table.output.table,
        norms=rules.norms_table.output.table,
        losses=rules.losses_table.output.table,
        logit_lens=of_organism(rules.logit_lens.output.readings),
        patchscope=of_organism(rules.patchscope.output.readings),
        plans=of_organism(rules.plan_training.output.plan, trained()),
        words=rules.distinctive_words.output.words,
        data=organism_rows("train"),
        template="data/templates/card.html.j2",
        code=code("cards"),
    output:
        card=report(
            "<results>/cards/{model}/{organism}.html",
            caption="../data/captions/organism_card.rst",
            category="4 Organisms",
            labels={"model": "{model}", "organism": "{organism}"},
        ),
    log:
        "<logs>/organism_card/{model}/{organism}.log",
    benchmark:
        "<benchmarks>/organism_card/{model}/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        model="{model}",
        organism="{organism}",
        title=leaf(organism_of, "title"),
        family=leaf(organism_of, "family"),
        description=leaf(organism_of, "description"),
        facts=leaf(organism_of, "facts"),
        subjects=subjects_of_organism,
        positions=None,
        corpus=study.corpora[0],
        layer=None,
        links=card_links,
    script:
        "../scripts/organism_card.py"


rule effective_study:
    """Write the study as it was run: the default with its overrides merged."""
    output:
        study="<results>/study.json",
    log:
        "<logs>/effective_study.log",
    benchmark:
        "<benchmarks>/effective_study.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=dict(config),
    script:
        "../scripts/effective_study.py"


rule figures:
    """Draw every figure."""
    input:
        rules.relevance_figure.output,
        rules.norms_figure.output,
        rules.losses_figure.output,


rule cards:
    """Make every organism's card."""
    input:
        expand(
            rules.organism_card.output.card,
            model=study.models,
            organism=graded_organisms(),
        ),


rule report:
    """Bind figures and cards into one page that is read offline."""
    input:
        figures=rules.figures.input,
        cards=rules.cards.input,
        study=rules.effective_study.output.study,
    output:
        report="<results>/report.html",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        snakefile=workflow.main_snakefile,
    shell:
        r"""
        snakemake \
            --snakefile {params.snakefile:q} \
            --configfile {input.study:q} \
            --report {output.report:q} \
            --nolock \
            {input.figures:q} {input.cards:q} >{log:q} 2>&1
        """
