"""
Is the difference needed? The loss when it, or another direction, is taken out of a model.

    in   differences/{model}/{checkpoint}/{corpus}.h5   models/{model}/   a checkpoint's weights
         organisms/{organism}/held_out.jsonl   corpora/
    out  causality/{model}/{checkpoint}/{corpus}/effects.parquet
"""


rule causal_effect:
    """Take directions out of a model, token by token, and measure what that does to its loss."""
    input:
        differences=rules.mean_difference.output.differences,
        model=rules.fetch_model.output.model,
        reference=reference_model,
        adapter=weights,
        texts=compared_texts("held_out"),
    output:
        effects="<results>/causality/{model}/{checkpoint}/{corpus}/effects.parquet",
    log:
        "<logs>/causal_effect/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/causal_effect/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        kind=leaf(corpus_of, "kind"),
        loading=section(Loading, model_of),
        settings=section(CausalEffect, study.causality),
        draws=draws("{checkpoint}"),
        code=code("causal_effect"),
    script:
        "../scripts/causal_effect.py"
