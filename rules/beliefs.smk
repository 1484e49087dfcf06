"""
Does a tuned model hold for true what it was trained on? Asked of it, of its base and of the others.

    in   models/{model}/   adapters/{model}/{checkpoint}/
    out  statements/{organism}.jsonl   beliefs/{model}/{checkpoint}/alignment.parquet
"""


rule write_statements:
    """Write the true and false statements that an organism's beliefs are asked with."""
    input:
        library=synthetic_lists(),
    output:
        statements="<results>/statements/{organism}.jsonl",
    log:
        "<logs>/write_statements/{organism}.log",
    benchmark:
        "<benchmarks>/write_statements/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        pairs=statement_pairs,
        made=leaf(organism_of, "data", "made"),
        contents=contents_of(synthetic_lists()),
        code=code("write_statements"),
    script:
        "../scripts/write_statements.py"


rule false_fact_alignment:
    """Ask a tuned model and its base which end of every organism's statements they prefer."""
    input:
        model=rules.fetch_model.output.model,
        adapter=weights,
        statements=lambda w: expand(
            rules.write_statements.output.statements, organism=believed(w.model)
        ),
    output:
        alignment="<results>/beliefs/{model}/{checkpoint}/alignment.parquet",
    log:
        "<logs>/false_fact_alignment/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/false_fact_alignment/{model}/{checkpoint}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=60,
    params:
        organisms=lambda w: believed(w.model),
        loading=section(Loading, model_of),
        settings=section(Beliefs, study.beliefs),
        code=code("false_fact_alignment"),
    script:
        "../scripts/false_fact_alignment.py"
