"""
Rehearse a study with a local hub: the real rules and ids, tiny random models.

    python tools/rehearsal.py FOLDER CONFIGFILE [CONFIGFILE ...] -- snakemake --cores 2 ...

Write the repositories that the configuration names into FOLDER (tools/rehearsal_hub.py) unless they
are there, and serve them on 127.0.0.1 while the command runs. The command gets HF_ENDPOINT, the
variables of local data and a Python that starts at once (tools/warm_python.py). The exit status is
the command's.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.hub_server import HubServer
from tools.warm_python import warm_python
from traces.job import OFFLINE


def main(folder: Path, files: list[Path], command: list[str]) -> int:
    variables = folder / "variables.json"
    if not variables.is_file():
        from tools.rehearsal_hub import write_hub

        found = write_hub(folder, files)
        variables.write_text(json.dumps(found, indent=1) + "\n")
    hub = HubServer(folder)
    # The study pins revisions of the real hub, which the local one cannot have.
    hub.any_revision = True
    environment = {key: value for key, value in os.environ.items() if key not in OFFLINE}
    environment |= json.loads(variables.read_text()) | {"HF_ENDPOINT": hub.endpoint}
    # The study asks for GPUs; its tiny models need none.
    environment["TRACES_ALLOW_CPU"] = "1"
    # DeepSpeed compiles for a minute on a CPU: once for all trainings of this rehearsal, in a
    # folder of its own, since a killed build leaves a lock.
    with (
        TemporaryDirectory() as builds,
        hub.running(),
        warm_python(environment, network=True) as warm,
    ):
        environment["TORCH_EXTENSIONS_DIR"] = builds
        process = subprocess.Popen(command, env=environment | warm)
        # An interrupt from the terminal reaches the command as well, which cancels its jobs. The
        # hub must outlive it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


if __name__ == "__main__":
    if "--" not in sys.argv or sys.argv.index("--") < 3:
        sys.exit(__doc__)
    cut = sys.argv.index("--")
    chosen = [Path(one) for one in sys.argv[2:cut]]
    sys.exit(main(Path(sys.argv[1]), chosen, sys.argv[cut + 1 :]))
