"""
The benchmark of readers: which one tells a narrow finetune from none, and names it.

    in   models/{model}/   vocabularies/{model}.parquet   samples/{model}/base.jsonl
         lenses/   differences/   words/   tables/losses.parquet   of a study without a ladder
    out  benchmark/{model}/{batch}/{organisms,domain_scores,detector_scores,token_lists}.parquet   token_scores.h5
         benchmark/{organisms,domain_scores,detector_scores,token_lists}.parquet   of all bases
         tables/{readers,detection,rates,roc,naming,coverage,confusion,half_strength,twins,matched}.parquet
         tables/{agreement,reader_differences,placed,pilot}.parquet
         figures/readers_{auc,roc,naming,strength,cost}.{png,pdf}   readers.html   tables/readers.md
"""

# The organisms ---------------------------------------------------------------------------------


rule benchmark_batch:
    """Make a batch of organisms of the ladder, and read each with every reader."""
    input:
        model=rules.fetch_model.output.model,
        vocabulary=rules.word_vocabulary.output.vocabulary,
        texts=rules.base_texts.output.texts,
        prompts=configured(study.lenses.samples.prompts),
        library=files_of_batch,
    output:
        made=expand("<results>/benchmark/{{model}}/{{batch}}/{table}.parquet", table=COMPARED),
        scores="<results>/benchmark/{model}/{batch}/token_scores.h5",
    log:
        "<logs>/benchmark_batch/{model}/{batch}.log",
    benchmark:
        "<benchmarks>/benchmark_batch/{model}/{batch}.tsv"
    wildcard_constraints:
        batch=r"\d+",
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        batch=batch_of,
        name="{model}",
        state=unfinished_batch,
        contents=contents_of(files_of_batch, configured(study.lenses.samples.prompts)),
        code=code("benchmark_batch"),
    script:
        "../scripts/benchmark_batch.py"


rule benchmark_scores:
    """Collect what is said of all organisms on all bases: of the ladder's, or of the study's own."""
    input:
        batches=every_batch(rules.benchmark_batch.output.made),
        token_scores=every_batch(rules.benchmark_batch.output.scores),
        models=lambda w: expand(
            rules.fetch_model.output.model, model=list(candidates(compared_members()))
        ),
        words=compared_words,
        losses=lambda w: [rules.losses_table.output.table] if compared_members() else [],
        readings=of_compared(rules.read_lenses.output.readings),
        scores=of_compared(rules.read_lenses.output.scores),
        statistics=of_compared(rules.read_lenses.output.statistics),
        differences=of_compared(rules.mean_difference.output.differences),
    output:
        made=expand("<results>/benchmark/{table}.parquet", table=COMPARED),
    log:
        "<logs>/benchmark_scores.log",
    benchmark:
        "<benchmarks>/benchmark_scores.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        compared=compared,
        adjusted=adjusted_on_ladder(),
        pilot_seeds=list(study.scoring.pilot_seeds),
        code=code("benchmark_scores"),
    script:
        "../scripts/benchmark_scores.py"


# What is said of readers ----------------------------------------------------------------------


rule readers_pilot:
    """Fix what every reader is scored by, on organisms that are not scored."""
    input:
        compared=rules.benchmark_scores.output.made,
    output:
        pilot="<results>/tables/pilot.parquet",
    log:
        "<logs>/readers_pilot.log",
    benchmark:
        "<benchmarks>/readers_pilot.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        scoring=section(Scoring, study.scoring),
        seed=study.seed,
        code=code("readers_pilot"),
    script:
        "../scripts/readers_pilot.py"


rule readers_table:
    """Score all readers on organisms whose truth is known: every table of the benchmark."""
    input:
        compared=rules.benchmark_scores.output.made,
        pilot=rules.readers_pilot.output.pilot,
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
        pilot=rules.readers_pilot.output.pilot,
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
