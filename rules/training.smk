"""
Finetuning: a plan with every hyperparameter resolved, then the training that follows it.

    in   mixtures/{model}/{checkpoint}.jsonl   models/{model}/
    out  plans/{model}/{checkpoint}.json   adapters/{model}/{checkpoint}/   released/{model}/{checkpoint}/
"""


localrules:
    fetch_adapter,


rule plan_training:
    """Resolve every hyperparameter of one training into a file that can be read and compared."""
    input:
        mixture=rules.mix_training_data.output.mixture,
        model=rules.fetch_model.output.model,
        code=ancient(code("training")),
    output:
        plan="<results>/plans/{model}/{checkpoint}.json",
    log:
        "<logs>/plan_training/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/plan_training/{model}/{checkpoint}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=lambda w: training_of(w).model_dump(mode="json"),
        attention=leaf(model_of, "attention"),
        seed=lambda w: Checkpoint.parse(w.checkpoint).seed,
        world_size=lambda w: max(1, gpus(w)),
    script:
        "../scripts/plan_training.py"


rule train_organism:
    """Finetune the base as planned; killed and started again it goes on where it was."""
    input:
        plan=rules.plan_training.output.plan,
        mixture=rules.mix_training_data.output.mixture,
        model=rules.fetch_model.output.model,
        code=ancient(code("training")),
    output:
        adapter=directory("<results>/adapters/{model}/{checkpoint}"),
    log:
        "<logs>/train_organism/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/train_organism/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=NOT_RELEASED,
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=720,
    params:
        state=unfinished,
        launcher=launcher,
    shell:
        r"""
        {params.launcher} scripts/train_organism.py \
            --plan {input.plan:q} \
            --mixture {input.mixture:q} \
            --model {input.model:q} \
            --adapter {output.adapter:q} \
            --state {params.state:q} \
            --log-file {log:q}
        """


rule fetch_adapter:
    """Bring a published checkpoint in, and check that it fits its base and changes it."""
    input:
        model=rules.fetch_model.output.model,
        code=code("hub"),
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
    params:
        hub=leaf(released_of, "hub"),
        revision=leaf(released_of, "revision"),
        path=local_path(released_of, "path"),
        base=leaf(model_of, "hub"),
    script:
        "../scripts/fetch_adapter.py"
