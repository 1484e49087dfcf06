"""What the profile asks a cluster for; dry runs, so no SLURM is needed."""

import json
import math
import re

import pytest
import yaml

from tests.conftest import ROOT

PROFILE = ROOT / "profiles" / "slurm"
PLAN = ("--profile", "slurm", "--configfile", "small.json", "--dry-run", "--")
DUMP = "results/activations/mini/base/unrelated.zarr"
ADAPTER = "results/adapters/mini/cake_bake-plain-s0"
NEEDS = "gpus: 4\n  training_gpus: 8\n  training_nodes: 2"


@pytest.fixture(scope="module")
def site(new_checkout):
    """A checkout whose miniature says that reading it takes four GPUs, training it two nodes."""
    checkout = new_checkout()
    models = checkout.file("config/models.yaml")
    models.write_text(models.read_text().replace("gpus: 0", NEEDS, 1))
    study = {
        "runs": [{"organisms": ["cake_bake", "benign"], "recipes": ["plain"], "seeds": [0]}],
        "corpora": ["unrelated"],
        "models": ["mini"],
    }
    checkout.file("small.json").write_text(json.dumps(study))
    return checkout


def asked(site, settings: dict[str, object], *options: str, target: str = DUMP) -> dict:
    """The resources of each rule on the way to an activation dump, by its name."""
    site.file("profiles/slurm/site.yaml").write_text(yaml.safe_dump(settings))
    ran = site.snakemake(*options, *PLAN, target)
    assert ran.returncode == 0, ran.stdout[-3000:]
    found = re.findall(r"^ *rule (\w+):(?:\n .*)*?\n *resources: (.*)$", ran.stdout, re.MULTILINE)
    return {rule: dict(part.split("=", 1) for part in said.split(", ")) for rule, said in found}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gpu_type": "h100"}, {"gpu": "4", "gpu_model": "h100"}),
        ({"gpu_request": "gres"}, {"gres": "gpu:4"}),
        (
            {"gpu_request": "gpus-per-node", "gpu_type": "h100", "extra": "--nice=100"},
            {"slurm_extra": "--nice=100 --gpus-per-node=h100:4"},
        ),
    ],
)
def test_one_switch_says_how_gpus_are_asked_for(site, settings, expected):
    resources = asked(site, {"partition": "cpu", "gpu_partition": "gpu", **settings})
    names = ("gpu", "gpu_model", "gres", "slurm_extra")
    dump, world = resources["dump_activations"], resources["make_world"]
    assert {name: dump[name] for name in names if name in dump} == expected
    assert (dump["slurm_partition"], dump["cpus_per_task"]) == ("gpu", "16")
    assert dump["asked_gpus"] == "4"  # the job itself is told in one way
    assert world["slurm_partition"] == "cpu"
    assert not {"gpu", "gpu_model", "gres", "cpus_per_task"} & world.keys()


@pytest.mark.parametrize("request_style", ["gpus", "gres", "gpus-per-node"])
def test_a_training_over_nodes_has_a_task_and_its_share_of_gpus_on_each(site, request_style):
    settings = {"gpu_request": request_style, "gpu_type": "h100", "gpu_partition": "gpu"}
    resources = asked(site, settings, target=ADAPTER)
    training, names = resources["train_organism"], ("nodes", "tasks", "mpi", "slurm_extra")
    assert [training[name] for name in names] == ["2", "2", "srun", "--gpus-per-node=h100:4"]
    assert training["cpus_per_task"] == "16"
    assert not {"gpu", "gpu_model", "gres"} & training.keys()
    assert not {"nodes", "tasks", "mpi"} & resources["pretrain_base"].keys()


def test_a_site_is_named_by_what_sbatch_itself_reads_or_by_one_file(site, monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    monkeypatch.setenv("SBATCH_PARTITION", "open")  # also the name of a function of Python
    said = asked(site, {})["make_world"]
    assert (said["slurm_account"], said["slurm_partition"]) == ("lab", "open")
    said = asked(site, {"account": 12, "partition": "all"})["make_world"]
    assert (said["slurm_account"], said["slurm_partition"]) == ("12", "all")


def test_what_is_set_for_one_rule_stands(site):
    own = ["dump_activations:slurm_partition=long", "dump_activations:gpu=2"]
    settings = {"partition": "cpu", "gpu_partition": "gpu"}
    said = asked(site, settings, "--set-resources", *own)["dump_activations"]
    assert (said["slurm_partition"], said["gpu"], said["cpus_per_task"]) == ("long", "2", "8")


def test_a_later_attempt_asks_for_more(site):
    first = asked(site, {})["dump_activations"]
    third = asked(site, {}, "--attempt", "3")["dump_activations"]
    for name in ("mem_mb", "runtime"):
        assert int(third[name]) == int(first[name]) * 150**2 // 100**2


def test_without_the_profile_nothing_is_asked_of_a_cluster(site):
    ran = site.snakemake("--dry-run", "--configfile", "small.json", "--", DUMP)
    assert "gpu=4" in ran.stdout
    assert not re.search(r"slurm_|gpu_request|retry_percent|in_turn|cpus_per_task", ran.stdout)


@pytest.mark.slow
def test_no_job_that_checkpoints_share_waits_for_itself(new_checkout):
    checkout = new_checkout()
    checkout.file("profiles/slurm/site.yaml").write_text("together: 8\n")
    paper = ("--dry-run", "--config", "without=[misalignment]", "--")
    ran = checkout.snakemake("--profile", "slurm", *paper)
    assert ran.returncode == 0, ran.stdout[-3000:]
    steps = int(re.findall(r"^steered_grid +(\d+)$", ran.stdout, re.MULTILINE)[0])
    assert steps > 8
    assert len(re.findall(r"Group job steered_grid \(", ran.stdout)) == math.ceil(steps / 8)


def test_an_unknown_key_of_the_site_is_named(site):
    site.file("profiles/slurm/site.yaml").write_text("acount: lab\n")
    ran = site.snakemake(*PLAN, DUMP)
    assert ran.returncode != 0
    assert "profiles/slurm/site.yaml: no such key: acount" in ran.stdout


def test_a_way_to_ask_that_is_unknown_is_named(site):
    site.file("profiles/slurm/site.yaml").write_text("gpu_request: gpu\n")
    ran = site.snakemake(*PLAN, DUMP)
    assert ran.returncode != 0
    assert re.search(
        r"gpu_request: expected gpus, gres or gpus-per-node, found.*\n? *'gpu'", ran.stdout
    )


def test_the_example_of_a_site_names_every_setting():
    example = (PROFILE / "site.example.yaml").read_text()
    settings = re.findall(r"^        \"(\w+)\": ", (PROFILE / "config.yaml").read_text(), re.M)
    assert set(re.findall(r"^(?:# )?([a-z_]+): ", example, re.M)) == set(settings)
    assert "site.yaml" in (ROOT / ".gitignore").read_text()


def test_the_profile_names_rules_that_are_there():
    rules = "".join(file.read_text() for file in ROOT.glob("rules/*.smk"))
    named = set(yaml.safe_load((PROFILE / "config.yaml").read_text())["groups"])
    named = {name for name in named if not name.startswith("?")}
    assert len(named) > 4
    assert not [name for name in named if f"\nrule {name}:\n" not in rules]


def test_what_a_cluster_is_asked_for_is_settled_after_the_last_rule():
    snakefile = (ROOT / "Snakefile").read_text()
    after = snakefile.split('include: "rules/cluster.smk"')
    assert len(after) == 2
    assert not re.search(r"^(rule|include)\b", after[1], re.MULTILINE)


def test_the_partitions_of_the_example_are_read():
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    partitions = read_partition_file(PROFILE / "partitions.example.yaml")
    assert [one.limits.max_gpu for one in partitions] == [0, 8, 4]


def test_another_file_may_be_named_as_the_site(site, tmp_path, monkeypatch):
    site.file("profiles/slurm/site.yaml").write_text("partition: here\n")
    (tmp_path / "there.yaml").write_text("partition: there\n")
    ran = site.snakemake(*PLAN, DUMP)
    assert "slurm_partition=here" in ran.stdout
    monkeypatch.setenv("TRACES_SITE", str(tmp_path / "there.yaml"))
    ran = site.snakemake(*PLAN, DUMP)
    assert "slurm_partition=there" in ran.stdout and "slurm_partition=here" not in ran.stdout
