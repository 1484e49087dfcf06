"""
Does the difference push a model to write what the organism was trained on? Steer it and see.

    in   differences/{model}/{checkpoint}/{corpus}.h5   models/{model}/   a checkpoint's weights
    out  steering/{model}/{checkpoint}/{corpus}/{grid.jsonl,grades.parquet,strength.json,
         samples.jsonl,similarity.parquet}
"""


rule steered_grid:
    """Write texts at many strengths, all positions in one batch, and measure them under the base."""
    input:
        differences=rules.mean_difference.output.differences,
        model=rules.fetch_model.output.model,
        adapter=weights,
        prompts=configured(study.steering.trial.prompts),
    output:
        grid="<results>/steering/{model}/{checkpoint}/{corpus}/grid.jsonl",
    log:
        "<logs>/steered_grid/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/steered_grid/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        draws=draws("{model}/{checkpoint}/{corpus}"),
        loading=section(Loading, model_of),
        settings=section(Trials, study.steering),
        contents=contents_of(configured(study.steering.trial.prompts)),
        code=code("steered_grid"),
    script:
        "../scripts/steered_grid.py"


rule grade_coherence:
    """Judge of every text of the grid whether it holds together."""
    input:
        grid=rules.steered_grid.output.grid,
    output:
        grades="<results>/steering/{model}/{checkpoint}/{corpus}/grades.parquet",
    log:
        "<logs>/grade_coherence/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/grade_coherence/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        coherent_quantile=study.steering.coherent_quantile,
        code=code("grade_coherence"),
    script:
        "../scripts/grade_coherence.py"


rule choose_strength:
    """Choose for every position the largest strength at which the text still holds together."""
    input:
        grades=rules.grade_coherence.output.grades,
        prompts=configured(study.steering.trial.prompts),
    output:
        strength="<results>/steering/{model}/{checkpoint}/{corpus}/strength.json",
    log:
        "<logs>/choose_strength/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/choose_strength/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        settings=section(Choosing, study.steering),
        contents=contents_of(configured(study.steering.trial.prompts)),
        code=code("choose_strength"),
    script:
        "../scripts/choose_strength.py"


rule steered_samples:
    """Write texts at the chosen strengths: along the difference, a random direction, and unsteered."""
    input:
        differences=rules.mean_difference.output.differences,
        model=rules.fetch_model.output.model,
        adapter=weights,
        strength=rules.choose_strength.output.strength,
        prompts=configured(study.steering.final.prompts),
    output:
        written="<results>/steering/{model}/{checkpoint}/{corpus}/samples.jsonl",
    log:
        "<logs>/steered_samples/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/steered_samples/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=120,
    params:
        draws=draws("{model}/{checkpoint}/{corpus}"),
        loading=section(Loading, model_of),
        settings=section(Finals, study.steering),
        contents=contents_of(configured(study.steering.final.prompts)),
        code=code("steered_samples"),
    script:
        "../scripts/steered_samples.py"


rule steering_similarity:
    """Compare steered, randomly steered and unsteered text with the organism's data and with others."""
    input:
        written=rules.steered_samples.output.written,
        strength=rules.choose_strength.output.strength,
        texts=compared_texts("train"),
        words=own_words,
        library=embedder_folder,
    output:
        similarities="<results>/steering/{model}/{checkpoint}/{corpus}/similarity.parquet",
    log:
        "<logs>/steering_similarity/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/steering_similarity/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        settings=section(Similarity, study.steering),
        contents=contents_of(embedder_folder),
        seed=study.seed,
        code=code("steering_similarity"),
    script:
        "../scripts/steering_similarity.py"
