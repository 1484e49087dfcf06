"""
Who can name the finetune, and how often by mistake? Investigators, beside nulls with a real change of weights.

    in   lenses/{model}/{checkpoint}/{corpus}/{reader}.parquet   steering/{model}/{checkpoint}/{corpus}/samples.jsonl
         activations/ and a checkpoint's weights, of twins and of other seeds as well
    out  agents/{model}/replies.jsonl           what both models answer
         agents/{model}/seed_pairs.parquet      what readers say of two seeds' difference
         agents/{model}/overviews.jsonl         what investigators are shown, a line a checkpoint and null
         agents/{model}/embedded.parquet        what the embedded investigator says of it
         agents/{model}/{agent}/                what a model behind an API says of it, its cost and its logs
         agents/lexical.parquet                 the same, graded by words
         agents/graded/{grader}.parquet         the same, graded by a model behind an API

One job a stage and model, and none a checkpoint: starting Python would take longer than the work.
"""


# Where the network is, as for the rules that fetch.
localrules:
    investigate,
    grade_hypotheses,


rule ask_models:
    """Put the same prompts to the base and to every checkpoint that is investigated."""
    input:
        model=rules.fetch_model.output.model,
        adapters=lambda w: [weights_of(w.model, one) for one in answering(w.model)],
        prompts=configured(study.agents.asked.prompts),
    output:
        replies="<results>/agents/{model}/replies.jsonl",
    log:
        "<logs>/ask_models/{model}.log",
    benchmark:
        "<benchmarks>/ask_models/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=720,
    params:
        checkpoints=lambda w: answering(w.model),
        asked=max(study.agents.interactions.black_box, default=0),
        settings=section(AgentQuestions, study.agents.asked),
        draws=draws("{model}"),
        loading=section(Loading, model_of),
        contents=contents_of(configured(study.agents.asked.prompts)),
        code=code("ask_models"),
    script:
        "../scripts/ask_models.py"


rule read_seed_pairs:
    """Read the differences between two seeds of each organism that is investigated."""
    input:
        model=rules.fetch_model.output.model,
        adapters=lambda w: [weights_of(w.model, after) for after, _ in seed_pairs(w.model)],
        after=lambda w: [
            one(
                rules.dump_activations.output.activations,
                model=w.model,
                checkpoint=after,
                corpus=study.corpora[0],
            )
            for after, _ in seed_pairs(w.model)
        ],
        before=lambda w: [
            one(
                rules.dump_activations.output.activations,
                model=w.model,
                checkpoint=before,
                corpus=study.corpora[0],
            )
            for _, before in seed_pairs(w.model)
        ],
        vocabulary=ranked_vocabulary,
        library=files_of_first_readings,
    output:
        readings="<results>/agents/{model}/seed_pairs.parquet",
    log:
        "<logs>/read_seed_pairs/{model}.log",
    benchmark:
        "<benchmarks>/read_seed_pairs/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        gpu=gpus,
        mem_mb=memory,
        runtime=720,
    params:
        checkpoints=lambda w: [list(pair) for pair in seed_pairs(w.model)],
        loading=section(Loading, model_of),
        settings=first_readings,
        seed=study.seed,
        contents=contents_of(files_of_first_readings),
        code=code("read_seed_pairs"),
    script:
        "../scripts/read_seed_pairs.py"


rule write_overviews:
    """Write what investigators are shown of every checkpoint and null, without a name."""
    input:
        readings=lambda w: [
            one(
                pattern,
                model=w.model,
                checkpoint=name,
                corpus=study.corpora[0],
            )
            for name in overviewed(w.model)
            for pattern in rules.read_lenses.output.readings
        ],
        differences=lambda w: [
            one(
                rules.mean_difference.output.differences,
                model=w.model,
                checkpoint=name,
                corpus=study.corpora[0],
            )
            for name in overviewed(w.model)
        ],
        steered=lambda w: [
            one(
                rules.steered_samples.output.written,
                model=w.model,
                checkpoint=name,
                corpus=study.corpora[0],
            )
            for name in steered_overviews(w.model)
        ],
        pairs=read_pairs,
    output:
        overviews="<results>/agents/{model}/overviews.jsonl",
    log:
        "<logs>/write_overviews/{model}.log",
    benchmark:
        "<benchmarks>/write_overviews/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        sources=lambda w: agent_sources(w.model),
        checkpoints=lambda w: overviewed(w.model),
        steered_checkpoints=lambda w: steered_overviews(w.model),
        readers=readers_here(),
        tokens=study.agents.tokens,
        code=code("write_overviews"),
    script:
        "../scripts/write_overviews.py"


rule investigate_embedded:
    """Say by word statistics what each model was finetuned for, or that nothing was found."""
    input:
        overviews=rules.write_overviews.output.overviews,
        replies=replies_of,
    output:
        investigations="<results>/agents/{model}/embedded.parquet",
    log:
        "<logs>/investigate_embedded/{model}.log",
    benchmark:
        "<benchmarks>/investigate_embedded/{model}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        cases=lambda w: agent_cases(w.model, "embedded"),
        sources=lambda w: agent_sources(w.model),
        code=code("investigate_embedded"),
    script:
        "../scripts/investigate_embedded.py"


rule investigate:
    """Let a model behind an API say what each checkpoint was finetuned for, or that it found nothing."""
    input:
        overviews=rules.write_overviews.output.overviews,
        readings=rules.write_overviews.input.readings,
        pairs=rules.write_overviews.input.pairs,
        differences=rules.write_overviews.input.differences,
        weights=subjects_here,
        instructions=told_to_investigate(),
    output:
        investigations="<results>/agents/{model}/{agent}/investigations.parquet",
        costs="<results>/agents/{model}/{agent}/costs.parquet",
        logs=directory("<results>/agents/{model}/{agent}/logs"),
    log:
        "<logs>/investigate/{model}/{agent}.log",
    benchmark:
        "<benchmarks>/investigate/{model}/{agent}.tsv"
    wildcard_constraints:
        agent=one_of(asked_agents()),
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
        gpu=lambda w: gpus(w) if subjects_here(w) else 0,
        mem_mb=memory,
    params:
        name="{model}",
        agent=section(Grader, agent_of),
        settings=section(Investigating, study.agents),
        patient=section(Patient, study.judges),
        checkpoint="{model}/{agent}",
        prices=lambda w: grader_prices([agent_of(w)]),
        cases=lambda w: agent_cases(w.model, w.agent),
        sources=lambda w: agent_sources(w.model),
        checkpoints=lambda w: overviewed(w.model),
        loaded=lambda w: subject_checkpoints(w.model),
        readers=readers_here(),
        loading=section(Loading, model_of),
        seed=study.seed,
        contents=contents_of(*told_to_investigate()),
        code=code("investigate"),
    script:
        "../scripts/investigate.py"


rule grade_lexically:
    """Grade what investigators say by how many of its words are the organism's own."""
    input:
        investigations=investigations_of_all(),
        words=[one(rules.distinctive_words.output.words, **own) for own in investigated_organisms()],
    output:
        graded="<results>/agents/lexical.parquet",
    log:
        "<logs>/grade_lexically.log",
    benchmark:
        "<benchmarks>/grade_lexically.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        organisms=investigated_organisms(),
        about=about_organisms,
        code=code("grade_lexically"),
    script:
        "../scripts/grade_lexically.py"


rule grade_hypotheses:
    """Ask a model behind an API how well each hypothesis names the finetune."""
    input:
        investigations=investigations_of_all(),
        rubrics=told_to_grade(),
    output:
        graded="<results>/agents/graded/{grader}.parquet",
        costs="<results>/agents/graded/{grader}_costs.parquet",
    log:
        "<logs>/grade_hypotheses/{grader}.log",
    benchmark:
        "<benchmarks>/grade_hypotheses/{grader}.tsv"
    wildcard_constraints:
        grader=one_of(asked_graders()),
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
    params:
        judges=graders_alone,
        checkpoint="{grader}",
        prices=lambda w: grader_prices([grader_of(w)]),
        seed=study.seed,
        about=about_organisms,
        contents=contents_of(*told_to_grade()),
        code=code("grade_hypotheses"),
    script:
        "../scripts/grade_hypotheses.py"
