"""
What do models behind an API say of the readings? Grades beside those of the embedded judge.

    in   lenses/{model}/{checkpoint}/{corpus}/{reader}.parquet
    out  judged/{model}/{checkpoint}/{corpus}/relevance.parquet   and what it cost, beside it

Answers and the ledger lie in `judges.folder`, outside of the results: they were paid for.
"""


# Where the network is, as for the rules that fetch.
localrules:
    judge_relevance,


rule judge_relevance:
    """Ask models which of the tokens that were read have to do with an organism."""
    input:
        readings=rules.read_lenses.output.readings,
        differences=rules.mean_difference.output.differences,
        words=lambda w: expand(
            rules.distinctive_words.output.words, model=w.model, organism=judged_on(w)
        ),
        instructions="data/rubrics/judge_tokens.txt",
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
        judges=section(Judges, study.judges),
        prices=grader_prices(),
        checkpoint="{model}/{checkpoint}/{corpus}",
        candidates=study.relevance.candidates,
        settings=reading_settings,
        seed=study.seed,
        contents=contents_of("data/rubrics/judge_tokens.txt"),
        code=code("judge_relevance"),
    script:
        "../scripts/judge_relevance.py"
