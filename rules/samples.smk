"""
What do the two models write? Texts of each, for the readers that compare texts alone.

    in   models/{model}/   a checkpoint's weights
    out  samples/{model}/base.jsonl   samples/{model}/{checkpoint}.jsonl
"""


rule base_texts:
    """Let the base write what the texts of all its organisms are compared with."""
    input:
        model=rules.fetch_model.output.model,
        prompts=configured(study.lenses.samples.prompts),
    output:
        texts="<results>/samples/{model}/base.jsonl",
    log:
        "<logs>/base_texts/{model}.log",
    benchmark:
        "<benchmarks>/base_texts/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        draws=draws("{model}/base"),
        loading=section(Loading, model_of),
        settings=section(Samples, study.lenses.samples),
        contents=contents_of(configured(study.lenses.samples.prompts)),
        code=code("base_texts"),
    script:
        "../scripts/base_texts.py"


rule tuned_texts:
    """Let a finetuned model write as much, and weigh its texts and the base's by both models."""
    input:
        model=rules.fetch_model.output.model,
        adapter=weights,
        base=rules.base_texts.output.texts,
        prompts=configured(study.lenses.samples.prompts),
    output:
        texts="<results>/samples/{model}/{checkpoint}.jsonl",
    log:
        "<logs>/tuned_texts/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/tuned_texts/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=TUNED,
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        draws=draws("{model}/{checkpoint}"),
        loading=section(Loading, model_of),
        settings=section(Samples, study.lenses.samples),
        contents=contents_of(configured(study.lenses.samples.prompts)),
        code=code("tuned_texts"),
    script:
        "../scripts/tuned_texts.py"
