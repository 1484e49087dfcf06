"""
What do grades of hypotheses depend on, and how far do graders agree? Counts, agreement, effects.

    in   tables/agents.parquet
    out  tables/{grade_counts,grade_agreement,grade_effects,grade_components}.parquet
         figures/grade_effects.{png,pdf}
"""


rule grades_table:
    """Count the grades of hypotheses by what came of them, and say how far graders agree."""
    input:
        agents=graded_hypotheses,
    output:
        counts="<results>/tables/grade_counts.parquet",
        agreement="<results>/tables/grade_agreement.parquet",
    log:
        "<logs>/grades_table.log",
    benchmark:
        "<benchmarks>/grades_table.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        seed=study.seed,
        code=code("grades_table"),
    script:
        "../scripts/grades_table.py"


rule grade_effects_table:
    """Fit what grades of hypotheses depend on, and what makes their variance."""
    input:
        agents=graded_hypotheses,
    output:
        effects="<results>/tables/grade_effects.parquet",
        components="<results>/tables/grade_components.parquet",
    log:
        "<logs>/grade_effects_table.log",
    benchmark:
        "<benchmarks>/grade_effects_table.tsv"
    conda:
        "../envs/bayes.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        families=families(),
        seed=study.seed,
        code=code("grade_effects_table"),
    script:
        "../scripts/grade_effects_table.py"


rule grade_effects_figure:
    """Draw what grades of hypotheses depend on, a forest of effects."""
    input:
        effects=rules.grade_effects_table.output.effects,
        components=rules.grade_effects_table.output.components,
    output:
        png=report(
            "<results>/figures/grade_effects.png",
            caption="../data/captions/grade_effects_figure.rst",
            category="10 Who names the finetune",
        ),
        pdf="<results>/figures/grade_effects.pdf",
    log:
        "<logs>/grade_effects_figure.log",
    benchmark:
        "<benchmarks>/grade_effects_figure.tsv"
    conda:
        "../envs/traces.yaml"
    params:
        code=code("grade_effects_figure"),
    script:
        "../scripts/grade_effects_figure.py"
