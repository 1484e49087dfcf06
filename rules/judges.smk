"""
What do models behind an API say of readings, steered texts and answers? Grades beside those of the
embedded judges.

    in   lenses/{model}/{checkpoint}/{corpus}/{reader}.parquet   steering/.../grid.jsonl   beliefs/.../alignment.parquet
    out  judged/{model}/{checkpoint}/{corpus}/{relevance,coherence,scales}.parquet   and what each cost, beside it
         judged/{model}/{checkpoint}/beliefs.parquet

Answers and the ledger lie in `judges.folder`, outside of the results: they were paid for.
"""


# Where the network is, as for the rules that fetch.
localrules:
    judge_relevance,
    judge_coherence,
    judge_scales,
    judge_beliefs,


rule judge_relevance:
    """Ask models which of the tokens that were read have to do with an organism."""
    input:
        readings=rules.read_lenses.output.readings,
        differences=rules.mean_difference.output.differences,
        words=lambda w: expand(
            rules.distinctive_words.output.words, model=w.model, organism=judged_on(w)
        ),
        instructions=told_to_judge("relevance"),
    output:
        relevance="<results>/judged/{model}/{checkpoint}/{corpus}/relevance.parquet",
        costs="<results>/judged/{model}/{checkpoint}/{corpus}/costs.parquet",
    log:
        "<logs>/judge_relevance/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/judge_relevance/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
    params:
        organisms=judged_on,
        about=lambda w: [registry.organisms[name].description for name in judged_on(w)],
        judges=section(AskedTokens, study.judges),
        prices=grader_prices(),
        checkpoint="{model}/{checkpoint}/{corpus}",
        candidates=study.relevance.candidates,
        settings=reading_settings,
        seed=study.seed,
        contents=contents_of(told_to_judge("relevance")),
        code=code("judge_relevance"),
    script:
        "../scripts/judge_relevance.py"


rule judge_coherence:
    """Ask models which steered texts hold together."""
    input:
        grid=rules.steered_grid.output.grid,
        grades=rules.grade_coherence.output.grades,
        instructions=told_to_judge("coherence"),
    output:
        coherence="<results>/judged/{model}/{checkpoint}/{corpus}/coherence.parquet",
        costs="<results>/judged/{model}/{checkpoint}/{corpus}/costs_of_coherence.parquet",
    log:
        "<logs>/judge_coherence/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/judge_coherence/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
    params:
        judges=section(AskedTexts, study.judges),
        prices=grader_prices(),
        checkpoint="{model}/{checkpoint}/{corpus}",
        seed=study.seed,
        contents=contents_of(told_to_judge("coherence")),
        code=code("judge_coherence"),
    script:
        "../scripts/judge_coherence.py"


rule judge_scales:
    """Ask models which of Patchscope's scales to read, and grade the choice."""
    input:
        readings=rules.read_lenses.output.readings,
        differences=rules.mean_difference.output.differences,
        relevance=rules.token_relevance.output.relevance,
        instructions=told_to_judge("scales"),
    output:
        scales="<results>/judged/{model}/{checkpoint}/{corpus}/scales.parquet",
        costs="<results>/judged/{model}/{checkpoint}/{corpus}/costs_of_scales.parquet",
    log:
        "<logs>/judge_scales/{model}/{checkpoint}/{corpus}.log",
    benchmark:
        "<benchmarks>/judge_scales/{model}/{checkpoint}/{corpus}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
    params:
        organisms=judged_on,
        judges=section(AskedScales, study.judges),
        prices=grader_prices(),
        checkpoint="{model}/{checkpoint}/{corpus}",
        settings=reading_settings,
        seed=study.seed,
        contents=contents_of(told_to_judge("scales")),
        code=code("judge_scales"),
    script:
        "../scripts/judge_scales.py"


rule judge_beliefs:
    """Ask models which end of a statement each open answer holds true."""
    input:
        alignment=rules.false_fact_alignment.output.alignment,
        statements=lambda w: expand(
            rules.write_statements.output.statements, organism=believed(w.model)
        ),
        instructions=told_to_judge("beliefs"),
    output:
        beliefs="<results>/judged/{model}/{checkpoint}/beliefs.parquet",
        costs="<results>/judged/{model}/{checkpoint}/costs_of_beliefs.parquet",
    log:
        "<logs>/judge_beliefs/{model}/{checkpoint}.log",
    benchmark:
        "<benchmarks>/judge_beliefs/{model}/{checkpoint}.tsv"
    conda:
        "../envs/traces.yaml"
    resources:
        api=1,
    params:
        organisms=lambda w: believed(w.model),
        judges=section(AskedAnswers, study.judges),
        prices=grader_prices(),
        checkpoint="{model}/{checkpoint}",
        seed=study.seed,
        contents=contents_of(told_to_judge("beliefs")),
        code=code("judge_beliefs"),
    script:
        "../scripts/judge_beliefs.py"
