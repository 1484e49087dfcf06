"""
What jobs ask for: GPUs, nodes and memory follow from the model's entry in config/models.yaml.
"""


def gpus(wildcards):
    return model_of(wildcards).gpus


def training_gpus(wildcards):
    """What a training takes: as many as a reading, unless the model's entry says otherwise."""
    return model_of(wildcards).gpus_to_train


def training_gpu_gb(wildcards):
    """The memory of each GPU of a training, in GB; None without one, where nothing must fit it."""
    return model_of(wildcards).gpu_gb if training_gpus(wildcards) else None


def training_nodes(wildcards):
    return model_of(wildcards).training_nodes


def gpus_here(wildcards, output):
    """
    A training's GPUs on each of its nodes.

    It takes `output`, so that Snakemake leaves it out of what a changed value makes anew: the plan
    holds the number of processes.
    """
    return training_gpus(wildcards) // training_nodes(wildcards)


def launcher(wildcards):
    """What owns a training: Python itself, torchrun over several GPUs, one torchrun a node."""
    gpus, nodes = training_gpus(wildcards), training_nodes(wildcards)
    if gpus <= 1:
        return "python"
    # torchrun starts a process for each GPU, so the GPUs are chosen before it starts.
    torchrun = (
        f"python -m traces.running.gpus {gpus // nodes} torchrun --nproc_per_node {gpus // nodes}"
    )
    if nodes == 1:
        return f"{torchrun} --standalone"
    # This line runs on the job's first node, where the others then meet it. A step may use every CPU
    # of its node's share, unless it asks for some or is bound.
    job = "${SLURM_JOB_ID:?a training over several nodes is a SLURM job (docs/cluster.md)}"
    meeting = f'"$(hostname):$((20000 + {job} % 20000))"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --cpu-bind none --kill-on-bad-exit "
        f"{torchrun} --nnodes {nodes} --rdzv_backend c10d --rdzv_id {job} "
        f"--rdzv_endpoint {meeting}"
    )


def memory(wildcards):
    return model_of(wildcards).mem_mb


def fetching_memory(wildcards):
    """Files pass through; only a model that is converted is held in memory."""
    origin = model_of(wildcards)
    return origin.mem_mb if origin.gguf or origin.package else 1000
