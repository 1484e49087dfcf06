"""The literal `snakemake --profile slurm` on a real SLURM: undisturbed, and as it breaks."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.conftest import Checkout
from tests.workflow.slurm.cluster import Cluster, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

STUDY = {
    "runs": [{"organisms": ["cake_bake", "benign"], "recipes": ["plain"], "seeds": [0]}],
    "corpora": ["unrelated"],
    "samples": 40,
    "activations": {"norm_samples": 8},
    "miniature": {
        "words": 20000,
        "unrelated": 100,
        "chats": 60,
        "vocabulary": 1024,
        "hidden_size": 32,
        "heads": 2,
        "intermediate_size": 64,
        "steps": 4,
        "gates": {"loss": 100.0, "identity": 0.0},
    },
    "training": {"limit": 40, "save_every": 1},
    "lenses": {"patchscope": {"scales": [1.0]}},
}
SITE = {"partition": "cpu", "gpu_partition": "gpu", "jobs": 4, "check_seconds": 2}
ORGANISMS = ("cake_bake", "benign")
DIFFERENCES = [f"results/differences/mini/{name}-plain-s0/unrelated.h5" for name in ORGANISMS]
LENSES = [
    f"results/lenses/mini/cake_bake-plain-s0/unrelated/{lens}.parquet"
    for lens in ("logit_lens", "patchscope")
]
MINUTES = 60
ON_CPUS = {"TRACES_ALLOW_CPU": "1", "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}


def heed_ctrl_c() -> None:
    """A process that was started in the background ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Site:
    """A checkout on the cluster's login node, and what its user types there."""

    def __init__(self, cluster: Cluster, checkout: Checkout) -> None:
        self.cluster, self.checkout = cluster, checkout
        checkout.file("small.json").write_text(json.dumps(STUDY))
        self.configure()

    def configure(self, **settings: object) -> None:
        """Write the one local file."""
        text = json.dumps(SITE | settings)
        self.checkout.file("profiles/slurm/site.yaml").write_text(text)

    def entry(self, **settings: object) -> None:
        """Change the miniature's entry among the models."""
        models = self.checkout.file("config/models.yaml")
        text = models.read_text()
        for key, value in settings.items():
            entry, rest = re.match(r"(?s)(.*?\nmini:\n.*?)(\n\n.*)", text).groups()
            entry = re.sub(rf"\n  {key}: .*", "", entry) + f"\n  {key}: {value}"
            text = entry + rest
        models.write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The literal command, with the small study and, for one test, other arguments."""
        return subprocess.Popen(
            ["snakemake", "--profile", "slurm", "--configfile", "small.json", *arguments],
            cwd=self.checkout.folder,
            env=self.cluster.environment | ON_CPUS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        )

    def snakemake(self, *arguments: str, minutes: float = 15) -> str:
        """Run it to its end, which must be a good one; what it said."""
        return self.end(self.start(*arguments), minutes=minutes)

    def end(self, process: subprocess.Popen[str], code: int = 0, minutes: float = 15) -> str:
        try:
            said, _ = process.communicate(timeout=minutes * MINUTES)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            pytest.fail(f"not done in {minutes} minutes: {said[-4000:]}")
        assert process.returncode == code, said[-6000:]
        return said

    def results(self, *files: str) -> dict[str, object]:
        """What files hold: arrays of a difference, rows of a table, lines of a loss."""
        return {file: _content(self.checkout.file(file)) for file in files}

    def forget(self, *folders: str) -> None:
        for folder in folders:
            shutil.rmtree(self.checkout.file("results") / folder)


def _content(file: Path) -> object:
    if file.suffix == ".h5":
        found: dict[str, object] = {}

        def collect(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[name] = np.asarray(item[()]).tobytes()

        with h5py.File(file) as opened:
            opened.visititems(collect)
        assert found
        return found
    if file.suffix == ".parquet":
        return pd.read_parquet(file).to_csv(index=False)
    return file.read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster") / "slurm") as cluster:
        yield cluster
    assert not cluster.left_behind()


@pytest.fixture(scope="module")
def ran(cluster, new_checkout) -> tuple[Site, str]:
    """A site where the small study has been run undisturbed, its readings on four GPUs each."""
    site = Site(cluster, new_checkout())
    site.entry(gpus=4, training_gpus=0)
    return site, site.snakemake()


@pytest.fixture
def undisturbed(ran) -> dict[str, object]:
    """What the undisturbed run found."""
    site, _ = ran
    return site.results(*DIFFERENCES, *LENSES, *_losses())


def _losses() -> list[str]:
    return [f"results/adapters/mini/{name}-plain-s0/losses.jsonl" for name in ORGANISMS]


# Undisturbed ------------------------------------------------------------------------------------


def test_every_job_but_fetching_and_the_pages_goes_through_sbatch(ran):
    site, said = ran
    local = set(re.findall(r"^localrule (\w+):", said, re.MULTILINE))
    pages = {"report", "landing_page"}
    assert local == {"fetch_model", "fetch_corpus", "fetch_organism", *pages, "all"}
    submitted = re.findall(r"has been submitted with SLURM jobid (\d+)", said)
    assert set(submitted) == site.cluster.jobs("completed").keys() == site.cluster.jobs().keys()
    assert site.checkout.file("results/report.html").exists()


def test_short_steps_share_a_job(ran):
    site, said = ran
    names = list(site.cluster.jobs().values())
    steps = {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    expected = {
        "plan": steps["plan_training"],
        "words": math.ceil(steps["distinctive_words"] / 10),
        "grade": math.ceil(steps["token_relevance"] / 10),
    }
    assert steps["plan_training"] > 1 and steps["token_relevance"] > 1
    for group, jobs in expected.items():
        assert sum(name.startswith(f"rule_{group}_") for name in names) == jobs
    alone = {"mix_training_data", "plan_training", "distinctive_words", "token_relevance"}
    assert not [name for name in names if name.startswith(tuple(f"rule_{one}_" for one in alone))]


def test_a_second_run_has_nothing_to_do(ran):
    site, _ = ran
    assert "Nothing to be done" in site.snakemake()


def test_a_model_that_says_four_gpus_is_given_four(ran):
    site, _ = ran
    rules = "".join(file.read_text() for file in site.checkout.file("rules").glob("*.smk"))
    reading = [rule[:40] for rule in re.split(r"^rule ", rules, flags=re.M) if "gpu=gpus" in rule]
    reading = tuple(f"rule_{rule.partition(':')[0]}_wildcards" for rule in reading)
    read, others = [], []
    for number, comment in site.cluster.jobs().items():
        facts, seen = site.cluster.job(number), site.cluster.devices_seen(number)
        if comment.startswith(reading):
            read.append(comment)
            assert facts["TresPerJob"] == "gres:gpu:4" and facts["JOB_GRES"] == "gpu:h100:4"
            assert facts["Partition"] == "gpu"
            assert len(set(seen)) == 4
        else:
            others.append(comment)
            assert "TresPerJob" not in facts and facts["Partition"] == "cpu"
            assert not seen
    assert len(read) >= 5 and others


# Disturbed --------------------------------------------------------------------------------------


def eventually(true: Callable[[], object], seconds: float = 120) -> object:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def test_what_cancelling_time_memory_and_a_node_undo_is_done_again(ran, undisturbed):
    site, _ = ran
    cluster = site.cluster
    before = set(cluster.jobs())
    site.forget("adapters", "differences")
    site.forget(*(f"activations/mini/{name}-plain-s0" for name in ORGANISMS))
    site.configure(gpu_request="gres", gpu_type="h100")
    process = site.start(
        "--set-resources",
        "train_organism:runtime=1",
        "dump_activations:mem_mb=450",
        "--",
        *DIFFERENCES,
    )

    # One training is cancelled by hand; the other hangs until its minute is over.
    cancelled = cluster.running("train_organism_wildcards_mini_cake_bake", but=before)
    cluster.run("scancel", cancelled)
    late = cluster.running("train_organism_wildcards_mini_benign", but=before)
    for hanging in eventually(lambda: cluster.processes(late, "train_organism.py")):
        os.kill(hanging, signal.SIGSTOP)

    # The node of a job that comes after the late one goes down under it.
    moved = cluster.running("mean_difference_wildcards_mini_benign", but=before, seconds=300)
    node = cluster.job(moved)["NodeList"]
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    said = site.end(process)
    cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)

    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in said
    assert f"SLURM-job '{late}' failed, SLURM status is: 'TIMEOUT'" in said
    assert "failed, SLURM status is: 'FAILED'" in said  # of memory; OUT_OF_MEMORY with cgroups
    after = {number: name for number, name in cluster.jobs().items() if number not in before}
    grown = [
        int(cluster.job(number)["MinMemoryNode"].removesuffix("M"))
        for number, name in sorted(after.items(), key=lambda one: int(one[0]))
        if "dump_activations_wildcards_mini_benign" in name
    ]
    assert grown[:2] == [450, 675]
    requeued = cluster.job(moved)
    assert requeued["Restarts"] == "1" and requeued["JobState"] == "COMPLETED"
    assert site.results(*DIFFERENCES, *_losses()) == {
        file: undisturbed[file] for file in (*DIFFERENCES, *_losses())
    }


def test_ctrl_c_cancels_the_jobs_and_a_rerun_ends_as_if_nothing_had_been(ran, undisturbed):
    site, _ = ran
    cluster = site.cluster
    before = set(cluster.jobs())
    for file in LENSES:
        site.checkout.file(file).unlink()
    site.configure()
    process = site.start("--", *LENSES)
    cluster.running("read_lenses", but=before)
    process.send_signal(signal.SIGINT)
    said = site.end(process, code=1)

    assert "Terminating processes on user request" in said
    eventually(lambda: not cluster.jobs("pending,running,completing"))
    site.snakemake("--", *LENSES)
    assert site.results(*LENSES) == {file: undisturbed[file] for file in LENSES}


def test_what_fails_for_good_says_where_to_look(ran):
    site, _ = ran
    said = site.end(
        site.start(
            *("--retries", "0", "--forcerun", "effective_study"),
            *("--set-resources", "effective_study:mem_mb=60", "--", "results/study.json"),
        ),
        code=1,
    )
    assert "Error in rule effective_study" in said
    (log,) = re.findall(r"(\S+/logs/slurm/rule_effective_study/\d+\.log) \(check", said)
    assert "exceeded memory limit" in Path(log).read_text()
    site.snakemake("--", "results/study.json")


def test_a_job_whose_gpus_torch_does_not_see_ends_at_once(ran, monkeypatch):
    site, _ = ran
    monkeypatch.setitem(ON_CPUS, "TRACES_ALLOW_CPU", "0")
    site.configure(gpu_request="gres")  # in whose words the number of GPUs is not a resource
    site.checkout.file(LENSES[0]).unlink()
    said = site.end(site.start("--retries", "0", "--", LENSES[0]), code=1)
    assert "read_lenses: GPUs: 0 can be used here, expected 4 as the job asks for" in said
    assert re.search(r"CUDA_VISIBLE_DEVICES='\d,\d,\d,\d', SLURM job \d+ with", said)
    monkeypatch.setitem(ON_CPUS, "TRACES_ALLOW_CPU", "1")
    site.snakemake("--", LENSES[0])


# Several processes ------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2])
def test_two_processes_train_one_adapter_over_deepspeed_inside_a_job(ran, nodes):
    site, _ = ran
    before = set(site.cluster.jobs())
    adapter = "results/adapters/mini/benign-plain-s0"
    site.configure(gpu_request="gpus-per-node")
    site.entry(training_gpus=2, training_nodes=nodes, mem_mb=8000)  # DeepSpeed calls a compiler
    study = STUDY | {"training": STUDY["training"] | {"deepspeed": 3, "batch_size": 2}}
    site.checkout.file("small.json").write_text(json.dumps(study))
    site.snakemake("--forcerun", "train_organism", "--", adapter)

    (number,) = (
        number
        for number, name in site.cluster.jobs().items()
        if number not in before and "train_organism" in name
    )
    job = site.cluster.job(number)
    assert (job["NumNodes"], job["TresPerNode"]) == (str(nodes), f"gres:gpu:{2 // nodes}")
    assert len(site.cluster.devices_seen(number)) == 2 // nodes
    plan = json.loads(site.checkout.file("results/plans/mini/benign-plain-s0.json").read_text())
    assert (plan["world_size"], plan["deepspeed"]) == (2, 3)
