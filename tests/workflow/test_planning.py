"""What Snakemake works out anew for every job is asked once, and the plan stays as it is."""

import json
import re
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

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
# The profile has functions of resources, which are asked most.
STUDY = ("--profile", "slurm", "--configfile", "config/config.yaml")


class Plan(NamedTuple):
    """How often Snakemake asked, and of every job its rule, input, output and resources."""

    asked: Counter[str]
    jobs: Counter[tuple[str, ...]]


def plan(checkout) -> Plan:
    ran = subprocess.run(
        [sys.executable, "-c", COUNTING, *STUDY],
        cwd=checkout.folder,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (asked,) = re.findall(r"^ASKED (.*)$", ran.stdout, re.MULTILINE)
    blocks = re.split(r"^ *(?:local)?rule (?=\w+:$)", ran.stdout, flags=re.MULTILINE)[1:]
    return Plan(Counter(json.loads(asked)), Counter(map(job, blocks)))


def job(block: str) -> tuple[str, ...]:
    """A job of the dry run: its rule, input, output and resources, these in order of their names.

    Snakemake prints the resources in an order that differs from run to run.
    """
    rule = block.partition(":")[0]
    fields = dict(re.findall(r"^ *(input|output|resources): (.*)$", block, re.MULTILINE))
    resources = sorted(fields.get("resources", "").split(", "))
    return (rule, fields.get("input", ""), fields.get("output", ""), *resources)


@pytest.fixture(scope="module")
def plans(new_checkout) -> tuple[Plan, Plan]:
    """The default study planned with what is remembered, and without."""
    remembering, asking = new_checkout(), new_checkout()
    snakefile = asking.file("Snakefile")
    text = snakefile.read_text(encoding="utf-8")
    assert text.count(INCLUDED) == 1
    snakefile.write_text(text.replace(INCLUDED, ""), encoding="utf-8")
    return plan(remembering), plan(asking)


def test_what_a_function_takes_and_where_a_script_is_are_asked_once(plans):
    remembering, asking = plans
    n_jobs = asking.jobs.total()
    assert n_jobs > 200
    for question in ("signature", "uri"):
        asked = asking.asked[question]
        assert asked > 2 * n_jobs, f"{question}: Snakemake no longer asks at each job"
        assert remembering.asked[question] < asked / 4, question


def test_without_what_is_remembered_the_plan_is_the_same(plans):
    remembering, asking = plans
    assert any(field.startswith("gpu=") for fields in asking.jobs for field in fields)
    assert remembering.jobs == asking.jobs
