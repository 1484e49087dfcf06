"""
Everything measured, tidy: one row a number, the same columns for every study.

    out  tables/{relevance,norms,losses,readability,beliefs,headlines,summary,mixing}.parquet   tables/mixing.{md,html}
         tables/{detectors,forced_choice,forced_choice_summary,agents,agents_summary}.parquet
         tables/{agents_agreement,agents_costs}.parquet
"""


rule norms_table:
    """Collect how large, how reliable and how constant every difference is."""
    input:
        differences=every(rules.mean_difference.output.differences),
    output:
        table="<results>/tables/norms.parquet",
    log:
        "<logs>/norms_table.log",
    benchmark:
        "<benchmarks>/norms_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(),
        sinks=study.average_sinks,
        code=code("norms_table"),
    script:
        "../scripts/norms_table.py"


rule relevance_table:
    """Collect how relevant every reading is, by position, lens, scale and whose words grade it."""
    input:
        graded=every(rules.token_relevance.output.relevance),
        norms=rules.norms_table.output.table,
    output:
        table="<results>/tables/relevance.parquet",
    log:
        "<logs>/relevance_table.log",
    benchmark:
        "<benchmarks>/relevance_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(),
        code=code("relevance_table"),
    script:
        "../scripts/relevance_table.py"


rule detectors_table:
    """Collect the statistics that tell that something narrow was learned."""
    input:
        differences=every(rules.mean_difference.output.differences),
        statistics=every(rules.read_lenses.output.statistics),
    output:
        table="<results>/tables/detectors.parquet",
    log:
        "<logs>/detectors_table.log",
    benchmark:
        "<benchmarks>/detectors_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(),
        code=code("detectors_table"),
    script:
        "../scripts/detectors_table.py"


rule losses_table:
    """Collect the loss of every step of every training."""
    input:
        adapters=every(rules.train_organism.output.adapter, trained()),
    output:
        table="<results>/tables/losses.parquet",
    log:
        "<logs>/losses_table.log",
    benchmark:
        "<benchmarks>/losses_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(trained(), corpora=False),
        code=code("losses_table"),
    script:
        "../scripts/losses_table.py"


rule readability_table:
    """Say of every organism whether it is readable: its words against every control's."""
    input:
        relevance=rules.relevance_table.output.table,
        words=[one(rules.distinctive_words.output.words, **own) for own in organisms_of_models()],
        vocabularies=expand(rules.word_vocabulary.output.vocabulary, model=study.models),
    output:
        table="<results>/tables/readability.parquet",
    log:
        "<logs>/readability_table.log",
    benchmark:
        "<benchmarks>/readability_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        organisms=organisms_of_models(),
        models=list(study.models),
        control=study.control,
        code=code("readability_table"),
    script:
        "../scripts/readability_table.py"


rule forced_choice_table:
    """Rank the candidate words for every reading, and say how well the secrets are named."""
    input:
        candidates=every_candidate,
        norms=rules.norms_table.output.table,
    output:
        table="<results>/tables/forced_choice.parquet",
        summary="<results>/tables/forced_choice_summary.parquet",
    log:
        "<logs>/forced_choice_table.log",
    benchmark:
        "<benchmarks>/forced_choice_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(choosing()),
        secrets=secrets(),
        headline=section(ChoiceHeadline, study.forced_choice.headline),
        shown=shown(),
        code=code("forced_choice_table"),
    script:
        "../scripts/forced_choice_table.py"


rule steering_table:
    """Collect what is written with the difference added, beside a random direction and none."""
    input:
        similarities=of_measured("steering", rules.steering_similarity.output.similarities),
        norms=rules.norms_table.output.table,
    output:
        table="<results>/tables/steering.parquet",
    log:
        "<logs>/steering_table.log",
    benchmark:
        "<benchmarks>/steering_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(made("steering")),
        code=code("steering_table"),
    script:
        "../scripts/steering_table.py"


rule causality_table:
    """Collect what taking directions out does to every checkpoint's loss."""
    input:
        effects=of_measured("causality", rules.causal_effect.output.effects),
        norms=rules.norms_table.output.table,
    output:
        table="<results>/tables/causality.parquet",
    log:
        "<logs>/causality_table.log",
    benchmark:
        "<benchmarks>/causality_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(made("causality")),
        code=code("causality_table"),
    script:
        "../scripts/causality_table.py"


rule beliefs_table:
    """Collect how often every checkpoint, and its base, prefers the false end of a statement."""
    input:
        alignments=of_measured("beliefs", rules.false_fact_alignment.output.alignment),
    output:
        table="<results>/tables/beliefs.parquet",
    log:
        "<logs>/beliefs_table.log",
    benchmark:
        "<benchmarks>/beliefs_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(made("beliefs"), corpora=False),
        code=code("beliefs_table"),
    script:
        "../scripts/beliefs_table.py"


rule judges_table:
    """Collect what models said of all checkpoints, and what it cost."""
    input:
        judged=judged(),
        paid=judged("costs"),
    output:
        made=expand("<results>/tables/judged_{question}.parquet", question=QUESTIONS),
        costs="<results>/tables/costs.parquet",
    log:
        "<logs>/judges_table.log",
    benchmark:
        "<benchmarks>/judges_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        questions=list(QUESTIONS),
        subjects=judged_subjects(),
        code=code("judges_table"),
    script:
        "../scripts/judges_table.py"


rule agents_table:
    """Collect what investigators say, how often they are right, and how often two seeds agree."""
    input:
        graded=hypotheses_graded(),
        paid=paid_for_agents(),
    output:
        table="<results>/tables/agents.parquet",
        summary="<results>/tables/agents_summary.parquet",
        agreement="<results>/tables/agents_agreement.parquet",
        costs="<results>/tables/agents_costs.parquet",
    log:
        "<logs>/agents_table.log",
    benchmark:
        "<benchmarks>/agents_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("agents_table"),
    script:
        "../scripts/agents_table.py"


rule summary_table:
    """Hold every headline against each of its controls, over organisms and seeds."""
    input:
        measures=[
            rules.relevance_table.output.table,
            rules.norms_table.output.table,
            *every_measured(),
        ],
    output:
        headlines="<results>/tables/headlines.parquet",
        table="<results>/tables/summary.parquet",
    log:
        "<logs>/summary_table.log",
    benchmark:
        "<benchmarks>/summary_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        control=study.control,
        twins=true_twins(),
        seed=study.seed,
        code=code("summary_table"),
    script:
        "../scripts/summary_table.py"


rule mixing_table:
    """Set every measure of every mixture beside its step-matched unmixed run and its control."""
    input:
        headlines=rules.summary_table.output.headlines,
        plans=every(rules.plan_training.output.plan, mixed()),
    output:
        table="<results>/tables/mixing.parquet",
    log:
        "<logs>/mixing_table.log",
    benchmark:
        "<benchmarks>/mixing_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        subjects=subjects(mixed(), corpora=False),
        code=code("mixing_table"),
    script:
        "../scripts/mixing_table.py"


rule mixing_paragraph:
    """Say in one paragraph what mixing did beyond longer training."""
    input:
        mixing_table=rules.mixing_table.output.table,
    output:
        text="<results>/tables/mixing.md",
        page=report(
            "<results>/tables/mixing.html",
            caption="../data/captions/mixing_paragraph.rst",
            category="6 What mixing does",
        ),
    log:
        "<logs>/mixing_paragraph.log",
    benchmark:
        "<benchmarks>/mixing_paragraph.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        corpus=study.corpora[0],
        unit=study.mixing.unit,
        texts=quoted(titles=titles()),
        code=code("mixing_paragraph"),
    script:
        "../scripts/mixing_paragraph.py"


rule tables:
    """Make every table."""
    input:
        rules.relevance_table.output,
        rules.norms_table.output,
        rules.detectors_table.output,
        rules.losses_table.output,
        rules.readability_table.output,
        rules.summary_table.output,
        every_measured(),
        rules.judges_table.output if registry.checkpoints("judges") else [],
        rules.agents_table.output if registry.checkpoints("agents") else [],
        if_mixed(rules.mixing_table.output.table),
        if_choosing(
            rules.forced_choice_table.output.table,
            rules.forced_choice_table.output.summary,
        ),
