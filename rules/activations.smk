"""
Residual streams on unrelated text, once for the base and once for every checkpoint.

    in   models/{model}/   a checkpoint's weights   corpora/{corpus}.jsonl
    out  activations/{model}/{checkpoint}/{corpus}.zarr
"""


rule dump_activations:
    """Read the residual stream on unrelated text, as few tokens and layers as are asked for."""
    input:
        model=rules.fetch_model.output.model,
        checkpoint=weights,
        corpus=corpus_text,
        context=context_text,
    output:
        activations=directory("<results>/activations/{model}/{checkpoint}/{corpus}.zarr"),
    log:
        "<logs>/dump_activations/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/dump_activations/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        read=read_of,
        loading=section(Loading, model_of),
        settings=section(Activations, study.activations),
        code=code("dump_activations"),
    script:
        "../scripts/dump_activations.py"
