"""
What do the differences say? What every reader reads, and how much of it is about the organism.

    in   differences/{model}/{checkpoint}/{corpus}.h5   models/{model}/   a checkpoint's weights
         samples/{model}/{checkpoint}.jsonl   for readers of samples alone
    out  vocabularies/{model}.parquet   words/{model}/{organism}.parquet
         lenses/{model}/{checkpoint}/{corpus}/{reader}.parquet   one for each of `lenses.readers`
         lenses/{model}/{checkpoint}/{corpus}/scores.h5          of every token that may be ranked
         adjusted/{model}/{corpus}.parquet                       less what others say
         lenses/{model}/{checkpoint}/{corpus}/statistics.parquet what readers measure beside tokens
         lenses/{model}/{checkpoint}/{corpus}/token_relevance.parquet
         lenses/{model}/{checkpoint}/{corpus}/candidates.parquet  of words that may be the secret
"""


rule word_vocabulary:
    """Find the tokens that are whole words of text the model knows: what a lens may rank."""
    input:
        model=rules.fetch_model.output.model,
        corpus=corpus_file(study.lenses.vocabulary_corpus),
    output:
        vocabulary="<results>/vocabularies/{model}.parquet",
    log:
        "<logs>/word_vocabulary/{model}.log",
    benchmark:
        "<benchmarks>/word_vocabulary/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        min_count=study.lenses.vocabulary_min_count,
        code=code("word_vocabulary"),
    script:
        "../scripts/word_vocabulary.py"


rule distinctive_words:
    """Find the words that set an organism's data apart from general text."""
    input:
        organism=worded_rows,
        corpus=corpus_file(study.relevance.corpus),
    output:
        words="<results>/words/{model}/{organism}.parquet",
    log:
        "<logs>/distinctive_words/{model}/{organism}.log",
    benchmark:
        "<benchmarks>/distinctive_words/{model}/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        listed=leaf(organism_of, "words"),
        n=study.relevance.words,
        code=code("distinctive_words"),
    script:
        "../scripts/distinctive_words.py"


rule read_lenses:
    """Read differences with every reader of the study, with the weights loaded once."""
    input:
        differences=rules.mean_difference.output.differences,
        model=rules.fetch_model.output.model,
        adapter=weights,
        vocabulary=ranked_vocabulary,
        base=null_activations,
        text=text_of_readers,
        samples=samples_of_readers,
        library=reading_files,
    output:
        readings=expand(
            "<results>/lenses/{{model}}/{{checkpoint}}/{{corpus}}/{reader}.parquet",
            reader=readers_here(),
        ),
        scores="<results>/lenses/{model}/{checkpoint}/{corpus}/scores.h5",
        statistics="<results>/lenses/{model}/{checkpoint}/{corpus}/statistics.parquet",
    log:
        "<logs>/read_lenses/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/read_lenses/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=60,
    params:
        loading=section(Loading, model_of),
        settings=reading_settings,
        read=read_of,
        seed=direction_seed,
        contents=contents_of(reading_files),
        code=code("read_lenses"),
    script:
        "../scripts/read_lenses.py"


rule adjust_readings:
    """Rank tokens by what an organism's readings say that those of other organisms do not."""
    input:
        scores=scores_to_adjust,
        model=rules.fetch_model.output.model,
    output:
        readings="<results>/adjusted/{model}/{corpus}.parquet",
    log:
        "<logs>/adjust_readings/{model}/{corpus}.log",
    benchmark:
        "<benchmarks>/adjust_readings/{model}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        checkpoints=lambda w: [str(one) for _, one, _ in read_for_adjusting(w)],
        compared=lambda w: {
            str(one): list(map(str, others))
            for one, others in adjusted_by(w.model, w.corpus).items()
        },
        readers=readers_here(adjusted=True),
        top_k=study.lenses.top_k,
        floor=study.lenses.contrast.floor,
        code=code("adjust_readings"),
    script:
        "../scripts/adjust_readings.py"


rule candidate_scores:
    """Look the words that may be an organism's secret up in what every reader scored."""
    input:
        scores=rules.read_lenses.output.scores,
        model=rules.fetch_model.output.model,
    output:
        candidates="<results>/lenses/{model}/{checkpoint}/{corpus}/candidates.parquet",
    log:
        "<logs>/candidate_scores/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/candidate_scores/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        words=candidate_words,
        code=code("candidate_scores"),
    script:
        "../scripts/candidate_scores.py"


rule token_relevance:
    """Grade what the readers read on the organism's own words and on every other organism's."""
    input:
        readings=rules.read_lenses.output.readings,
        adjusted=adjusted_readings,
        differences=rules.mean_difference.output.differences,
        words=lambda w: expand(
            rules.distinctive_words.output.words,
            model=w.model,
            organism=graded_organisms(w.model),
        ),
    output:
        relevance="<results>/lenses/{model}/{checkpoint}/{corpus}/token_relevance.parquet",
    log:
        "<logs>/token_relevance/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/token_relevance/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        organisms=lambda w: graded_organisms(w.model),
        checkpoint="{checkpoint}",
        candidates=study.relevance.candidates,
        settings=graded_settings,
        code=code("token_relevance"),
    script:
        "../scripts/token_relevance.py"
