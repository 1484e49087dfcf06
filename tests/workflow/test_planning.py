"""What Snakemake works out anew for every job is asked once, and the plan stays as it is."""

import json
import subprocess
import sys
from collections import Counter

import pytest

# Snakemake as a user runs it, its two dear questions counted beneath what remembers the answers.
COUNTING = """
import collections, inspect, json, sys
asked = collections.Counter()

def counted(name, function):
    def ask(*arguments, **options):
        asked[name] += 1
        return function(*arguments, **options)
    return ask

inspect.signature = counted("signature", inspect.signature)
import smart_open
smart_open.parse_uri = counted("uri", smart_open.parse_uri)

from snakemake.cli import main
sys.argv = ["snakemake", "--dry-run", *sys.argv[1:]]
try:
    main()
finally:
    print("ASKED", json.dumps(asked))
"""
INCLUDED = 'include: "rules/planning.smk"\n'


@pytest.fixture(scope="module")
def planned(new_checkout):
    """The default study planned with what is remembered and without: questions asked, and jobs."""

    def plan(checkout) -> tuple[Counter[str], list]:
        ran = subprocess.run(
            [sys.executable, "-c", COUNTING],
            cwd=checkout.folder,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        line = next(line for line in ran.stdout.splitlines() if line.startswith("ASKED "))
        jobs = checkout.dry_run()
        return Counter(json.loads(line.removeprefix("ASKED "))), sorted(
            (job.rule, job.inputs, job.outputs) for job in jobs
        )

    remembering, asking = new_checkout(), new_checkout()
    snakefile = asking.file("Snakefile")
    text = snakefile.read_text(encoding="utf-8")
    assert text.count(INCLUDED) == 1
    snakefile.write_text(text.replace(INCLUDED, ""), encoding="utf-8")
    return plan(remembering), plan(asking)


def test_what_a_function_takes_and_where_a_script_is_are_asked_once(planned):
    (remembered, jobs), (asked, _) = planned
    assert len(jobs) > 200
    for question in ("signature", "uri"):
        assert asked[question] > 2 * len(jobs), f"{question}: Snakemake no longer asks at each job"
        assert remembered[question] < asked[question] / 4, question


def test_without_what_is_remembered_the_plan_is_the_same(planned):
    (_, remembered), (_, asked) = planned
    assert remembered == asked
