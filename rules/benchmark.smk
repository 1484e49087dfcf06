"""
The benchmark of readers: which one tells a narrow finetune from none, and names it.

    out  tables/{readers,detection,rates,roc,naming,coverage,confusion,half_strength,twins,matched}.parquet
         tables/{agreement,reader_differences,pilot,placed}.parquet
         figures/readers_{auc,roc,naming,strength,cost}.{png,pdf}   readers.html   tables/readers.md
"""

# What is said of readers ----------------------------------------------------------------------


rule readers_table:
    """Score all readers on organisms whose truth is known: every table of the benchmark."""
    input:
        organisms=rules.benchmark_scores.output.organisms,
        domain_scores=rules.benchmark_scores.output.domain_scores,
        detector_scores=rules.benchmark_scores.output.detector_scores,
        token_lists=rules.benchmark_scores.output.token_lists,
    output:
        made=[
            "<results>/tables/readers.parquet",
            "<results>/tables/detection.parquet",
            "<results>/tables/rates.parquet",
            "<results>/tables/roc.parquet",
            "<results>/tables/naming.parquet",
            "<results>/tables/coverage.parquet",
            "<results>/tables/confusion.parquet",
            "<results>/tables/half_strength.parquet",
            "<results>/tables/twins.parquet",
            "<results>/tables/matched.parquet",
            "<results>/tables/agreement.parquet",
            "<results>/tables/reader_differences.parquet",
            "<results>/tables/pilot.parquet",
            "<results>/tables/placed.parquet",
        ],
    log:
        "<logs>/readers_table.log",
    benchmark:
        "<benchmarks>/readers_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        scoring=section(Scoring, study.scoring),
        seed=study.seed,
        code=code("readers_table"),
    script:
        "../scripts/readers_table.py"


rule readers_auc_figure:
    """Draw every reader's AUC against each kind of null, and how often it names the domain."""
    input:
        made=rules.readers_table.output.made,
    output:
        png="<results>/figures/readers_auc.png",
        pdf="<results>/figures/readers_auc.pdf",
    log:
        "<logs>/readers_auc_figure.log",
    benchmark:
        "<benchmarks>/readers_auc_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("readers_auc_figure"),
    script:
        "../scripts/readers_auc_figure.py"


rule readers_roc_figure:
    """Draw every reader's ROC against each kind of null."""
    input:
        made=rules.readers_table.output.made,
    output:
        png="<results>/figures/readers_roc.png",
        pdf="<results>/figures/readers_roc.pdf",
    log:
        "<logs>/readers_roc_figure.log",
    benchmark:
        "<benchmarks>/readers_roc_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("readers_roc_figure"),
    script:
        "../scripts/readers_roc_figure.py"


rule readers_naming_figure:
    """Draw what every reader says of each domain, and of each kind of null."""
    input:
        made=rules.readers_table.output.made,
    output:
        png="<results>/figures/readers_naming.png",
        pdf="<results>/figures/readers_naming.pdf",
    log:
        "<logs>/readers_naming_figure.log",
    benchmark:
        "<benchmarks>/readers_naming_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("readers_naming_figure"),
    script:
        "../scripts/readers_naming_figure.py"


rule readers_strength_figure:
    """Draw how well every reader finds and names organisms, by their strength."""
    input:
        made=rules.readers_table.output.made,
    output:
        png="<results>/figures/readers_strength.png",
        pdf="<results>/figures/readers_strength.pdf",
    log:
        "<logs>/readers_strength_figure.log",
    benchmark:
        "<benchmarks>/readers_strength_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("readers_strength_figure"),
    script:
        "../scripts/readers_strength_figure.py"


rule readers_cost_figure:
    """Draw every reader's AUC by what it costs."""
    input:
        made=rules.readers_table.output.made,
    output:
        png="<results>/figures/readers_cost.png",
        pdf="<results>/figures/readers_cost.pdf",
    log:
        "<logs>/readers_cost_figure.log",
    benchmark:
        "<benchmarks>/readers_cost_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("readers_cost_figure"),
    script:
        "../scripts/readers_cost_figure.py"


rule readers_page:
    """Make the page of the benchmark of readers, and its tables in Markdown."""
    input:
        made=rules.readers_table.output.made,
        figures=[
            rules.readers_auc_figure.output.png,
            rules.readers_roc_figure.output.png,
            rules.readers_naming_figure.output.png,
            rules.readers_strength_figure.output.png,
            rules.readers_cost_figure.output.png,
        ],
        template="data/templates/readers.html.j2",
        text_template="data/templates/readers.md.j2",
        summary_template="data/templates/readers_summary.j2",
    output:
        page="<results>/readers.html",
        text="<results>/tables/readers.md",
    log:
        "<logs>/readers_page.log",
    benchmark:
        "<benchmarks>/readers_page.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        scoring=section(Scoring, study.scoring),
        texts=quoted(title=study.title),
        contents=contents_of(
            "data/templates/readers.html.j2",
            "data/templates/readers.md.j2",
            "data/templates/readers_summary.j2",
        ),
        code=code("readers_page"),
    script:
        "../scripts/readers_page.py"
