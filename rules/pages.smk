"""
The page to begin with, made last of all: it links to everything else.

    out  index.html
"""


localrules:
    landing_page,


rule landing_page:
    """Make the page to begin with: findings, organisms, and links to everything else."""
    input:
        made=rules.tables.input,
        figures=rules.figures.input,
        cards=rules.cards.input,
        study=rules.effective_study.output.study,
        report=rules.report.output.report,
        template="data/templates/index.html.j2",
    output:
        page="<results>/index.html",
    log:
        "<logs>/landing_page.log",
    benchmark:
        "<benchmarks>/landing_page.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        title=study.title,
        corpus=study.corpora[0],
        layers=list(study.layers),
        positions=headline_positions(),
        control=study.control,
        recipes=shown_recipes(),
        seed=study.seed,
        unit=study.mixing.unit,
        only=list(study.only),
        without=list(study.without),
        titles=titles(),
        logs=study.pathvars.logs,
        benchmarks=study.pathvars.benchmarks,
        code=code("landing_page"),
    script:
        "../scripts/landing_page.py"
