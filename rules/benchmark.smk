"""
The benchmark of readers: which one tells a narrow finetune from none, and names it.

    in   models/{model}/   vocabularies/{model}.parquet   samples/{model}/base.jsonl
         lenses/   differences/   words/   tables/losses.parquet   of a study without a ladder
    out  benchmark/{model}/{batch}/{organisms,domain_scores,detector_scores,token_lists}.parquet
         benchmark/{organisms,domain_scores,detector_scores,token_lists}.parquet   of all bases
         tables/{readers,detection,rates,roc,naming,coverage,confusion,half_strength,twins,matched}.parquet
         tables/{agreement,reader_differences,pilot,placed}.parquet
         figures/readers_{auc,roc,naming,strength,cost}.{png,pdf}   readers.html   tables/readers.md
"""

# The organisms ---------------------------------------------------------------------------------


def batches_of_ladder():
    """The organisms of the ladder by the number of their batch; none without a ladder."""
    return dict(enumerate(batches(study.ladder))) if study.ladder else {}


def specimens_of(wildcards):
    """The organisms of one batch."""
    return [one.model_dump(mode="json") for one in batches_of_ladder()[int(wildcards.batch)]]


def batch_of(wildcards):
    """What a batch is made and read by (traces/benchmark/batch.py: Batch)."""
    told = SimpleNamespace(model=wildcards.model, corpus=study.corpora[0])
    return {
        "specimens": specimens_of(wildcards),
        "ladder": study.ladder.model_dump(mode="json"),
        "loading": section(Loading, model_of)(wildcards),
        "training": study.training.model_dump(mode="json"),
        "activations": section(Activations, study.activations),
        "samples": section(Samples, study.lenses.samples),
        # What is compared is the difference; its controls are organisms here.
        "readers": reading_settings(told) | {"readings": ["difference"]},
        "layers": list(study.layers[:1]),
        "positions": list(study.positions),
        "texts": study.samples,
        "seed": study.seed,
    }


def files_of_batch(wildcards):
    """The files that a batch finds by itself: those of the synthetic corpus, and of the readers."""
    told = SimpleNamespace(model=wildcards.model, corpus=study.corpora[0])
    return [*synthetic_lists(), *reading_files(told)]


def every_batch(wildcards):
    """The tables of all batches on all bases; none without a ladder."""
    batches = list(batches_of_ladder())
    return expand(rules.benchmark_batch.output.made, model=study.models, batch=batches)


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


# The study's own organisms, without a ladder -----------------------------------------------------


@functools.cache
def compared_members():
    """The checkpoints of a study without a ladder that are compared; one sentence for too few."""
    if study.ladder:
        return []
    try:
        return members(registry)
    except ValueError as error:
        raise WorkflowError(str(error)) from error


def compared_layer():
    """The layer that counts, fixed beforehand: the forced choice's, where it is read."""
    read, fixed = registry.layers(study.corpora[0]), study.forced_choice.headline.layer
    return fixed if fixed in read else read[0]


def of_compared(output):
    """`output` of every checkpoint that is compared, on the study's first text."""

    def files(wildcards):
        return each(
            output,
            [
                (one.model, Checkpoint.parse(one.checkpoint), study.corpora[0])
                for one in compared_members()
            ],
        )

    return files


def compared_words(wildcards):
    """The words of every domain, in the order of `compared`."""
    return [
        one(rules.distinctive_words.output.words, model=model, organism=name)
        for model, names in candidates(compared_members()).items()
        for name in names
    ]


def compared(wildcards):
    """Who is compared, and how it is read (traces/benchmark/collected.py: Compared)."""
    told = SimpleNamespace(corpus=study.corpora[0])
    return {
        "members": [one.model_dump(mode="json") for one in compared_members()],
        "candidates": candidates(compared_members()),
        "layers": registry.layers(study.corpora[0]),
        "layer": compared_layer(),
        "readers": reading_settings(told),
    }


rule benchmark_scores:
    """Collect what is said of all organisms on all bases: of the ladder's, or of the study's own."""
    input:
        batches=every_batch,
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
        code=code("benchmark_scores"),
    script:
        "../scripts/benchmark_scores.py"


# What is said of readers ----------------------------------------------------------------------


rule readers_table:
    """Score all readers on organisms whose truth is known: every table of the benchmark."""
    input:
        compared=rules.benchmark_scores.output.made,
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
