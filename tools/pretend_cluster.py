"""
Start a SLURM cluster of pretend nodes and GPUs, and run a command on its login node.

    python tools/pretend_cluster.py JOBS -- snakemake --profile slurm ...

JOBS run at a time, on the real cores of this machine. The profile gets its own site file
(TRACES_SITE), and no file of the checkout is written. Needs Debian's slurmctld, slurmd,
slurm-client and munge. The exit status is the command's.
"""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.workflow.slurm.cluster import Cluster, why_not

SITE = {"partition": "cpu", "gpu_partition": "gpu", "together": 8, "check_seconds": 5}


def main(jobs: int, command: list[str]) -> int:
    if reason := why_not():
        sys.exit(f"no cluster can be brought up here: {reason}")
    # Torch sees no pretend GPU.
    on_cpus = {"TRACES_ALLOW_CPU": "1", "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder) / "slurm") as cluster:
        site = Path(folder) / "site.yaml"
        site.write_text(json.dumps(SITE | {"jobs": jobs}))
        own = {"TRACES_SITE": str(site), **on_cpus}
        process = subprocess.Popen(command, env=cluster.environment | own)
        # An interrupt from the terminal reaches the command as well, which cancels its jobs. The
        # cluster must outlive it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[2] != "--" or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    sys.exit(main(int(sys.argv[1]), sys.argv[3:]))
