"""
Everything measured, tidy: one row a number, the same columns for every study.

    out  tables/{relevance,norms,losses,readability}.parquet
"""


rule relevance_table:
    """Collect how relevant every reading is, by position, lens, scale and whose words grade it."""
    input:
        graded=every(rules.token_relevance.output.relevance),
        code=code("tables"),
    output:
        table="<results>/tables/relevance.parquet",
    log:
        "<logs>/relevance_table.log",
    benchmark:
        "<benchmarks>/relevance_table.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        subjects=subjects(),
    script:
        "../scripts/relevance_table.py"


rule norms_table:
    """Collect how large, how reliable and how constant every difference is."""
    input:
        differences=every(rules.mean_difference.output.differences),
        code=code("tables"),
    output:
        table="<results>/tables/norms.parquet",
    log:
        "<logs>/norms_table.log",
    benchmark:
        "<benchmarks>/norms_table.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        subjects=subjects(),
    script:
        "../scripts/norms_table.py"


rule losses_table:
    """Collect the loss of every step of every training."""
    input:
        adapters=every(rules.train_organism.output.adapter, trained()),
        code=code("tables"),
    output:
        table="<results>/tables/losses.parquet",
    log:
        "<logs>/losses_table.log",
    benchmark:
        "<benchmarks>/losses_table.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        subjects=subjects(trained(), corpora=False),
    script:
        "../scripts/losses_table.py"


rule readability_table:
    """Say of every organism whether it is readable: its words against every control's."""
    input:
        relevance=rules.relevance_table.output.table,
        words=expand(
            rules.distinctive_words.output.words,
            model=study.models,
            organism=graded_organisms(),
        ),
        vocabularies=expand(rules.word_vocabulary.output.vocabulary, model=study.models),
        code=code("tables"),
    output:
        table="<results>/tables/readability.parquet",
    log:
        "<logs>/readability_table.log",
    benchmark:
        "<benchmarks>/readability_table.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        organisms=[
            {"model": model, "organism": organism}
            for model in study.models
            for organism in graded_organisms()
        ],
        models=list(study.models),
        positions=None,
        control=study.control,
    script:
        "../scripts/readability_table.py"


rule tables:
    """Make every table."""
    input:
        rules.relevance_table.output,
        rules.norms_table.output,
        rules.losses_table.output,
        rules.readability_table.output,
