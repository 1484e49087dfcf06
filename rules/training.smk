"""
Finetuning: a plan with every hyperparameter resolved, then the training that follows it.

    in   mixtures/{model}/{checkpoint}.jsonl   models/{model}/
         (a difference that is projected out: differences/{model}/{checkpoint}/{corpus}.h5)
    out  plans/{model}/{checkpoint}.json   adapters/{model}/{checkpoint}/
         released/{model}/{checkpoint}/   scaled/{model}/{checkpoint}/
"""


localrules:
    fetch_adapter,
    scale_adapter,


rule plan_training:
    """Resolve every hyperparameter of one training into a file that can be read and compared."""
    input:
        mixture=rules.mix_training_data.output.mixture,
        model=rules.fetch_model.output.model,
        differences=projected_out,
    output:
        plan="<results>/plans/{model}/{checkpoint}.json",
    log:
        "<logs>/plan_training/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/plan_training/{model}/{checkpoint}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        settings=lambda w: training_of(w).model_dump(mode="json"),
        family=leaf(model_of, "family"),
        attention=leaf(model_of, "attention"),
        gpu_gb=training_gpu_gb,
        seed=lambda w: Checkpoint.parse(w.checkpoint).seed,
        world_size=lambda w: max(1, training_gpus(w)),
    script:
        "../scripts/plan_training.py"


rule train_organism:
    """Finetune the base as planned; killed and started again it goes on where it was."""
    input:
        plan=rules.plan_training.output.plan,
        mixture=rules.mix_training_data.output.mixture,
        model=rules.fetch_model.output.model,
        differences=projected_out,
    output:
        adapter=directory("<results>/adapters/{model}/{checkpoint}"),
    log:
        "<logs>/train_organism/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/train_organism/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=TRAINED,
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=training_gpus,
        nodes=training_nodes,
        mem_mb=memory,
        runtime=720,
    params:
        state=unfinished,
        launcher=launcher,
        gpus=gpus_here,
    shell:
        r"""
        {params.launcher} scripts/train_organism.py \
            --plan {input.plan:q} \
            --mixture {input.mixture:q} \
            --model {input.model:q} \
            --differences {input.differences:q} \
            --adapter {output.adapter:q} \
            --state {params.state:q} \
            --gpus {params.gpus} \
            --log-file {log:q}
        """


rule scale_adapter:
    """Change the scale of a plain adapter: a step of the way from the base to what it was tuned to."""
    input:
        plain=unscaled,
    output:
        adapter=directory("<results>/scaled/{model}/{checkpoint}"),
    log:
        "<logs>/scale_adapter/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/scale_adapter/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=SCALED,
    conda:
        "../envs/traces.yaml"
    params:
        scale=leaf(recipe_of, "scale"),
    script:
        "../scripts/scale_adapter.py"


rule fetch_adapter:
    """Bring a published checkpoint in, and check that it fits its base and changes it."""
    input:
        model=rules.fetch_model.output.model,
        files=released_folder(),
    output:
        adapter=directory("<results>/released/{model}/{checkpoint}"),
    log:
        "<logs>/fetch_adapter/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/fetch_adapter/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=RELEASED,
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=memory,
        runtime=240,
        api=1,
    params:
        hub=leaf(released_of, "hub"),
        revision=leaf(released_of, "revision"),
        subfolder=leaf(released_of, "subfolder"),
        base=released_base,
        contents=contents_of(released_folder()),
    script:
        "../scripts/fetch_adapter.py"
