"""
Pictures of the tables, a card for every organism, and the report that holds them.

    out  figures/{relevance,forced_choice,forced_choice_ranks,agents,norms,losses}.{png,pdf}   figures/ablations/{ablation}.{png,pdf}
         cards/{model}/{organism}.html   study.json   report.html
"""


localrules:
    report,


rule relevance_figure:
    """Draw every organism's relevance beside its controls, with intervals over seeds."""
    input:
        readability=rules.readability_table.output.table,
        relevance=rules.relevance_table.output.table,
    output:
        png=report(
            "<results>/figures/relevance.png",
            caption="../data/captions/relevance_figure.rst",
            category="1 What the lenses read",
        ),
        pdf="<results>/figures/relevance.pdf",
    log:
        "<logs>/relevance_figure.log",
    benchmark:
        "<benchmarks>/relevance_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        shown=shown(),
        texts=quoted(titles=titles()),
        code=code("relevance_figure"),
    script:
        "../scripts/relevance_figure.py"


rule forced_choice_figure:
    """Draw the rank of every candidate word for every organism, true words marked."""
    input:
        table=rules.forced_choice_table.output.table,
        summary=rules.forced_choice_table.output.summary,
    output:
        png=report(
            "<results>/figures/forced_choice.png",
            caption="../data/captions/forced_choice_figure.rst",
            category="1 What the lenses read",
        ),
        pdf="<results>/figures/forced_choice.pdf",
    log:
        "<logs>/forced_choice_figure.log",
    benchmark:
        "<benchmarks>/forced_choice_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        secrets=secrets(),
        headline=section(ChoiceHeadline, study.forced_choice.headline),
        shown=shown(),
        texts=quoted(titles=titles()),
        code=code("forced_choice_figure"),
    script:
        "../scripts/forced_choice_figure.py"


rule forced_choice_ranks_figure:
    """Draw the mean rank of the true words by every reader, beside chance and controls."""
    input:
        summary=rules.forced_choice_table.output.summary,
    output:
        png=report(
            "<results>/figures/forced_choice_ranks.png",
            caption="../data/captions/forced_choice_ranks_figure.rst",
            category="1 What the lenses read",
        ),
        pdf="<results>/figures/forced_choice_ranks.pdf",
    log:
        "<logs>/forced_choice_ranks_figure.log",
    benchmark:
        "<benchmarks>/forced_choice_ranks_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        headline=section(ChoiceHeadline, study.forced_choice.headline),
        shown=shown(),
        code=code("forced_choice_ranks_figure"),
    script:
        "../scripts/forced_choice_ranks_figure.py"


rule norms_figure:
    """Draw the size and the constancy of every difference, by position and layer."""
    input:
        norms=rules.norms_table.output.table,
    output:
        png=report(
            "<results>/figures/norms.png",
            caption="../data/captions/norms_figure.rst",
            category="2 How large the offset is",
        ),
        pdf="<results>/figures/norms.pdf",
    log:
        "<logs>/norms_figure.log",
    benchmark:
        "<benchmarks>/norms_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        corpus=study.corpora[0],
        layers=registry.layers(study.corpora[0]),
        recipes=shown_recipes(),
        texts=quoted(titles=titles()),
        code=code("norms_figure"),
    script:
        "../scripts/norms_figure.py"


rule losses_figure:
    """Draw the loss curves of every training."""
    input:
        losses=rules.losses_table.output.table,
    output:
        png=report(
            "<results>/figures/losses.png",
            caption="../data/captions/losses_figure.rst",
            category="8 How the organisms were trained",
        ),
        pdf="<results>/figures/losses.pdf",
    log:
        "<logs>/losses_figure.log",
    benchmark:
        "<benchmarks>/losses_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        recipes=shown_recipes(),
        texts=quoted(titles=titles()),
        code=code("losses_figure"),
    script:
        "../scripts/losses_figure.py"


rule steering_figure:
    """Draw how like the organism's data steered text is, beside a random direction and none."""
    input:
        steering=rules.steering_table.output.table,
    output:
        png=report(
            "<results>/figures/steering.png",
            caption="../data/captions/steering_figure.rst",
            category="3 Whether it steers",
        ),
        pdf="<results>/figures/steering.pdf",
    log:
        "<logs>/steering_figure.log",
    benchmark:
        "<benchmarks>/steering_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        corpus=study.corpora[0],
        recipes=shown_recipes(),
        texts=quoted(titles=titles()),
        code=code("steering_figure"),
    script:
        "../scripts/steering_figure.py"


rule causality_figure:
    """Draw what taking the difference out does to the loss, beside other directions."""
    input:
        causality=rules.causality_table.output.table,
    output:
        png=report(
            "<results>/figures/causality.png",
            caption="../data/captions/causality_figure.rst",
            category="4 What taking it out does",
        ),
        pdf="<results>/figures/causality.pdf",
    log:
        "<logs>/causality_figure.log",
    benchmark:
        "<benchmarks>/causality_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        corpus=study.corpora[0],
        recipes=shown_recipes(),
        texts=quoted(titles=titles()),
        code=code("causality_figure"),
    script:
        "../scripts/causality_figure.py"


rule beliefs_figure:
    """Draw which statements an organism holds true, beside its base and the other organisms."""
    input:
        beliefs=rules.beliefs_table.output.table,
    output:
        png=report(
            "<results>/figures/beliefs.png",
            caption="../data/captions/beliefs_figure.rst",
            category="5 What the organisms believe",
        ),
        pdf="<results>/figures/beliefs.pdf",
    log:
        "<logs>/beliefs_figure.log",
    benchmark:
        "<benchmarks>/beliefs_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        control=study.control,
        twins=true_twins(),
        recipes=shown_recipes(),
        texts=quoted(titles=titles()),
        code=code("beliefs_figure"),
    script:
        "../scripts/beliefs_figure.py"


rule mixing_figure:
    """Draw every measure against the mixing ratio, mixtures beside step-matched runs."""
    input:
        mixing=rules.mixing_table.output.table,
    output:
        png=report(
            "<results>/figures/mixing.png",
            caption="../data/captions/mixing_figure.rst",
            category="6 What mixing does",
        ),
        pdf="<results>/figures/mixing.pdf",
    log:
        "<logs>/mixing_figure.log",
    benchmark:
        "<benchmarks>/mixing_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        corpus=study.corpora[0],
        unit=study.mixing.unit,
        texts=quoted(titles=titles()),
        code=code("mixing_figure"),
    script:
        "../scripts/mixing_figure.py"


rule ablation_figure:
    """Draw what becomes of the readings as one thing is varied, beside their controls."""
    input:
        relevance=rules.relevance_table.output.table,
        norms=rules.norms_table.output.table,
    output:
        png=report(
            "<results>/figures/ablations/{ablation}.png",
            caption="../data/captions/ablation_figure.rst",
            category="7 What changes it",
            labels={"varied": "{ablation}"},
        ),
        pdf="<results>/figures/ablations/{ablation}.pdf",
    log:
        "<logs>/ablation_figure/{ablation}.log",
    benchmark:
        "<benchmarks>/ablation_figure/{ablation}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        ablation=ablated,
        shown=shown(),
        texts=texts_of_ablation,
        code=code("ablation_figure"),
    script:
        "../scripts/ablation_figure.py"


rule organism_card:
    """Make one page an organism: what it was trained on, what the lenses read, its controls."""
    input:
        measures=[
            rules.readability_table.output.table,
            rules.relevance_table.output.table,
            rules.norms_table.output.table,
            rules.losses_table.output.table,
        ],
        choices=choice_table_of,
        readings=of_organism(rules.read_lenses.output.readings),
        adjusted=adjusted_of_organism,
        plans=of_organism(rules.plan_training.output.plan, trained()),
        words=rules.distinctive_words.output.words,
        data=organism_rows("train"),
        investigated=viewed_of_organism,
        template="data/templates/card.html.j2",
    output:
        card=report(
            "<results>/cards/{model}/{organism}.html",
            caption="../data/captions/organism_card.rst",
            category="9 Organisms",
            labels={"model": "{model}", "organism": "{organism}"},
        ),
    log:
        "<logs>/organism_card/{model}/{organism}.log",
    benchmark:
        "<benchmarks>/organism_card/{model}/{organism}.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        shown=card_of,
        contents=contents_of("data/templates/card.html.j2"),
        code=code("organism_card"),
    script:
        "../scripts/organism_card.py"


rule effective_study:
    """Write the study as it was run: the default with its overrides merged."""
    output:
        study="<results>/study.json",
    log:
        "<logs>/effective_study.log",
    benchmark:
        "<benchmarks>/effective_study.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        settings=settings,
        code=code("effective_study"),
    script:
        "../scripts/effective_study.py"


rule agents_figure:
    """Draw how often investigators assert and name a finetune, for organisms and for nulls."""
    input:
        summary=rules.agents_table.output.summary,
    output:
        png=report(
            "<results>/figures/agents.png",
            caption="../data/captions/agents_figure.rst",
            category="1 What the lenses read",
        ),
        pdf="<results>/figures/agents.pdf",
    log:
        "<logs>/agents_figure.log",
    benchmark:
        "<benchmarks>/agents_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("agents_figure"),
    script:
        "../scripts/agents_figure.py"


rule figures:
    """Draw every figure."""
    input:
        rules.relevance_figure.output,
        rules.norms_figure.output,
        rules.losses_figure.output,
        expand(rules.ablation_figure.output, ablation=study.ablations),
        rules.steering_figure.output if registry.checkpoints("steering") else [],
        rules.causality_figure.output if registry.checkpoints("causality") else [],
        rules.agents_figure.output if registry.checkpoints("agents") else [],
        rules.beliefs_figure.output if registry.checkpoints("beliefs") else [],
        if_choosing(
            rules.forced_choice_figure.output.png,
            rules.forced_choice_figure.output.pdf,
            rules.forced_choice_ranks_figure.output.png,
            rules.forced_choice_ranks_figure.output.pdf,
        ),
        if_mixed(
            rules.mixing_figure.output.png,
            rules.mixing_figure.output.pdf,
            rules.mixing_paragraph.output.text,
            rules.mixing_paragraph.output.page,
        ),


rule cards:
    """Make every organism's card."""
    input:
        [one(rules.organism_card.output.card, **own) for own in organisms_of_models()],


rule report:
    """Bind figures and cards into one page that is read offline."""
    input:
        figures=rules.figures.input,
        cards=rules.cards.input,
        study=rules.effective_study.output.study,
        captions=captions(),
    output:
        report="<results>/report.html",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        snakefile=SNAKEFILE,
        contents=contents_of(captions()),
    shell:
        r"""
        snakemake \
            --snakefile {params.snakefile:q} \
            --configfile {input.study:q} \
            --report {output.report:q} \
            --nolock \
            {input.figures:q} {input.cards:q} >{log:q} 2>&1
        """
