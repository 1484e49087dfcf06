"""The paper's study, whose trainings must fit their GPUs."""

import os
import shutil
from pathlib import Path

import pytest

from tests.studies import load
from traces.config.study import LoadedStudy

CHATS = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


@pytest.fixture(scope="session")
def paper(tmp_path_factory) -> LoadedStudy:
    folder = Path(shutil.copytree("config", tmp_path_factory.mktemp("paper") / "config"))
    with pytest.MonkeyPatch.context() as patched:
        # The data of the misalignment organisms are behind a password.
        patched.setitem(os.environ, "EM_DATA", str(folder))
        for name in ("bad_medical_advice", "risky_financial_advice", "extreme_sports"):
            (folder / f"{name}.jsonl").write_text(2 * CHATS, encoding="utf-8")
        return load(folder, (folder / "paper.yaml").read_text(encoding="utf-8"))
