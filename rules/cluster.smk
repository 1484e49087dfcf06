"""
How a cluster hears what rules need. A rule says how many GPUs, how much memory, how long; the
default resources of a profile say how its cluster wants to be asked. Without them nothing acts here.

    gpu_request     gpus: --gpus=4     gres: --gres=gpu:4     gpus-per-node: --gpus-per-node=4
                    (over several nodes always the last: the executor cannot say the others then)
    gpu_type        the kind of GPU, such as h100; none where the cluster has one kind
    gpu_cpus        CPUs beside each GPU; a rule without GPUs has its `threads`
    gpu_partition   where jobs with GPUs go
    cpu_partition   where the others go, and all where only this one is named
    retry_percent   150: a second attempt asks for 1.5 times the memory and time of the first

What is set for one rule in the executor's own names, such as slurm_partition, stays as it was set.
"""

SAID_IN_PROFILE = [
    "gpu_request",
    "gpu_type",
    "gpu_cpus",
    "gpu_partition",
    "cpu_partition",
    "retry_percent",
]


def said_in_profile(resources):
    """The settings above, taken out of a rule's resources."""
    said = {}
    for name in SAID_IN_PROFILE:
        given = resources.get(name)
        said[name] = given.evaluate(
            None, input=[], attempt=1, threads=1, rulename="", async_run=None
        )
        resources[name] = None
    return {name: resource.value for name, resource in said.items()}


def words_for(count, nodes, said, before):
    """
    What asks for `count` GPUs, in the executor's names; `before` says what a name held so far.

    Over several nodes each has one task, and the job's own shell starts them: `mpi` to the executor.
    `nodes` is None for a rule that knows of one only.
    """
    partition = before("slurm_partition")
    if not count:
        return {"slurm_partition": partition or said["cpu_partition"]}
    kind, extra = said["gpu_type"], before("slurm_extra")
    here = count // (nodes or 1)
    typed = ":".join([kind, str(here)] if kind else [str(here)])
    per_node = "=".join(["--gpus-per-node", typed])
    asking = {
        "gpus": {"gpu": count, **({"gpu_model": kind} if kind else {})},
        "gres": {"gres": ":".join(["gpu", typed])},
        "gpus-per-node": {"slurm_extra": " ".join([extra, per_node] if extra else [per_node])},
    }
    several = (nodes or 1) > 1
    spread = {"tasks": nodes, "mpi": "srun"} if several else {"nodes": None} if nodes else {}
    return {
        "gpu": None,
        "slurm_partition": partition or said["gpu_partition"] or said["cpu_partition"],
        "cpus_per_task": before("cpus_per_task") or (said["gpu_cpus"] or 0) * here or None,
        **spread,
        **asking["gpus-per-node" if several else said["gpu_request"]],
    }


def ask(resources):
    """Put one rule's needs into the words of this cluster; functions, for jobs differ in theirs."""
    needs, said = dict(resources.items()), said_in_profile(resources)
    if said["gpu_request"] not in ("gpus", "gres", "gpus-per-node"):
        found = repr(said["gpu_request"])
        raise WorkflowError("gpu_request: expected gpus, gres or gpus-per-node, found", found)

    def need(name, wildcards, facts):
        return needs[name].evaluate(wildcards, **facts).value if name in needs else None

    last = {}  # job and words: Snakemake asks for all words of a job, one after the other

    def words_of_job(wildcards, facts):
        job = (*wildcards, facts["attempt"])
        if last.get("job") != job:
            count, nodes = (need(one, wildcards, facts) for one in ("gpu", "nodes"))
            words = words_for(count, nodes, said, lambda one: need(one, wildcards, facts))
            last.update(job=job, words=words)
        return last["words"]

    def worded(name):
        def asked(wildcards, **facts):
            words = words_of_job(wildcards, facts)
            return words[name] if name in words else need(name, wildcards, facts)

        return asked

    def growing(name):
        def asked(wildcards, **facts):
            value, times = need(name, wildcards, facts), facts["attempt"] - 1
            if not times or not said["retry_percent"] or not isinstance(value, int):
                return value
            return -(-value * said["retry_percent"] ** times // 100**times)

        return asked

    resources["slurm_partition"] = needs.get("slurm_partition", said["cpu_partition"])
    if "gpu" in needs:
        # No more words than its jobs can need: each is worked out for every one of thousands.
        counts = [(1, 1), (2, 2)] if "nodes" in needs else [(1, None)]
        words = [words_for(*some, said, lambda name: None) for some in counts]
        for name in {name for some in words for name in some}:
            resources[name] = worded(name)
    for name in ("mem_mb", "runtime"):
        resources[name] = growing(name)


def as_asked(gpu):
    """The value of `gpu` as a rule states it."""
    return lambda wildcards, **facts: gpu.evaluate(wildcards, **facts).value


for resources in [one.resources for one in workflow.rules]:
    if "gpu" in resources:
        # For the job itself, which stops where it is given fewer (traces/job.py). Snakemake lowers `gpu` to
        # what `--resources` allows, and a cluster's words may replace it.
        resources["asked_gpus"] = as_asked(resources["gpu"])
    if "gpu_request" in resources:
        ask(resources)
