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
        pages=[rules.effective_study.output.study, rules.report.output.report],
        investigated=viewed(),
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
        shown=quoted(**shown(), titles=titles(), title=study.title),
        folders=[FOLDERS["logs"], FOLDERS["benchmarks"]],
        contents=contents_of("data/templates/index.html.j2"),
        code=code("landing_page"),
    script:
        "../scripts/landing_page.py"
