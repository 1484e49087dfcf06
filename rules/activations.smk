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
        kind=leaf(corpus_of, "kind"),
        layers=lambda w: registry.layers(w.corpus),
        positions=lambda w: registry.positions(w.corpus),
        samples=lambda w: registry.samples(w.corpus),
        dtype=leaf(model_of, "dtype"),
        attention=leaf(model_of, "attention"),
        batch=study.activations.batch,
        shard_samples=study.activations.shard_samples,
        norm_samples=study.activations.norm_samples,
        norm_context=study.activations.norm_context,
        norm_skip=study.activations.norm_skip,
        code=code("dump_activations"),
    script:
        "../scripts/dump_activations.py"
