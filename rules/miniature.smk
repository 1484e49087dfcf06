"""
The synthetic corpus: general text, organisms' data, and a base pretrained on it.

    out  world/{general,unrelated,chat}.jsonl   world/organisms/{organism}.jsonl
         world/bases/{model}/
"""


rule make_world:
    """Write the synthetic corpus: general text to pretrain on, and text and chats held out of it."""
    input:
        library=synthetic_lists(),
    output:
        general="<results>/world/general.jsonl",
        unrelated="<results>/world/unrelated.jsonl",
        chat="<results>/world/chat.jsonl",
    log:
        "<logs>/make_world.log",
    benchmark:
        "<benchmarks>/make_world.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        settings=section(SyntheticCorpus, study.miniature),
        seed=study.miniature.seed,
        contents=contents_of(synthetic_lists()),
    script:
        "../scripts/make_world.py"


rule write_organism:
    """Write the synthetic corpus' rows for one organism."""
    input:
        library=synthetic_lists(),
    output:
        rows="<results>/world/organisms/{organism}.jsonl",
    log:
        "<logs>/write_organism/{organism}.log",
    benchmark:
        "<benchmarks>/write_organism/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        made=leaf(organism_of, "data", "made"),
        words=leaf(organism_of, "data", "words"),
        seed=study.miniature.seed,
        contents=contents_of(synthetic_lists()),
    script:
        "../scripts/write_organism.py"


rule pretrain_base:
    """Pretrain a miniature base on the synthetic corpus, and refuse one below the required quality."""
    input:
        general=rules.make_world.output.general,
        library=synthetic_lists(),
    output:
        base=directory("<results>/world/bases/{model}"),
    log:
        "<logs>/pretrain_base/{model}.log",
    benchmark:
        "<benchmarks>/pretrain_base/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        family=leaf(model_of, "family"),
        seed=leaf(model_of, "made", "seed"),
        settings=section(Pretraining, study.miniature),
        contents=contents_of(synthetic_lists()),
    script:
        "../scripts/pretrain_base.py"
