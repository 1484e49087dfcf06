"""What a script is made of, worked out on a small package with a truth to find."""

import pytest

from traces.running import closure

FILES = {
    "scripts/step.py": "from traces import job\nfrom traces.models import weights\n",
    "traces/__init__.py": '__version__ = "1"\n',
    "traces/job.py": "import traces.report.cards\n",
    "traces/models/__init__.py": "",
    "traces/models/weights.py": "def load():\n    from traces.models.hooks import capture\n",
    "traces/models/hooks.py": "import numpy\nfrom traces.models import weights\n",
    "traces/report/__init__.py": "",
    "traces/report/cards.py": "",
    "traces/entries.py": 'READ = "traces.report.cards:card"\n',
    "scripts/table.py": "from traces import entries\n",
    "scripts/reader.py": "import importlib\nfrom traces import entries\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(closure, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for function in (closure.closure, closure.imports, closure._content):
        function.cache_clear()


def test_a_closure_has_what_is_imported_through_others_in_functions_and_in_circles(repository):
    assert closure.closure("scripts/step.py") == (
        "scripts/step.py",
        "traces/models/__init__.py",
        "traces/models/hooks.py",
        "traces/models/weights.py",
    )


def test_a_function_named_in_a_string_counts_where_something_is_imported_by_name(repository):
    assert "traces/report/cards.py" in closure.closure("scripts/reader.py")
    assert closure.closure("scripts/table.py") == ("scripts/table.py", "traces/entries.py")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("scripts/step.py", True),
        ("traces/models/hooks.py", True),
        ("traces/report/cards.py", False),
        ("traces/job.py", False),
        ("traces/__init__.py", False),
    ],
)
def test_a_digest_changes_with_the_contents_of_the_closure_alone(repository, name, changes):
    before = closure.digest("scripts/step.py")
    (repository / name).touch()
    forget()
    assert closure.digest("scripts/step.py") == before
    (repository / name).write_text(FILES[name] + "# edited\n")
    forget()
    assert (closure.digest("scripts/step.py") != before) == changes


@pytest.mark.parametrize("name", ["model", "corpus", "organism", "adapter"])
def test_what_downloads_is_of_the_code_that_a_fetched_file_was_made_by(name):
    """It decides which rows and files of the hub are read."""
    assert "traces/fetching/hub.py" in closure.closure(f"scripts/fetch_{name}.py")
