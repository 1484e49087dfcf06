"""
What did finetuning add? Means of the residual stream, tuned minus base.

    in   activations/{model}/{checkpoint}/{corpus}.zarr   (and the base's)
    out  differences/{model}/{checkpoint}/{corpus}.h5
"""


rule mean_difference:
    """Average tuned minus base over samples, per layer and position."""
    input:
        tuned=rules.dump_activations.output.activations,
        base=of_base(rules.dump_activations.output.activations),
    output:
        differences="<results>/differences/{model}/{checkpoint}/{corpus}.h5",
    log:
        "<logs>/mean_difference/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/mean_difference/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        seed=direction_seed,
        singular=any("singular" in name for name in study.lenses.readings),
        code=code("mean_difference"),
    script:
        "../scripts/mean_difference.py"
