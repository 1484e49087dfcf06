"""What others wrote stays text: no title, token or row acts in a page, and no secret is told."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Checkout
from tests.traces.report import test_cards, test_index, test_mixing_text
from traces.analysis import mixing
from traces.job import write_text
from traces.report import index, mixing_text
from traces.report.pages import address

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
ACT = "document.title='RAN'"
HOSTILE = f'</script><script>{ACT}</script><img src=x onerror="{ACT}"> $x^{{ `c` |d| *e* f_ \\ 50%'
SCHEME = re.compile(r"\s*(javascript:|vbscript:|data:text)", re.IGNORECASE)
RAW = f'\n\n.. raw:: html\n\n   <img src=x onerror="{ACT}">\n\n'


FETCHED = """
fetched: {family: llama, hub: someone/planted, dtype: float32}
elsewhere: {family: llama, path: $PLANTED_SECRET/model, dtype: float32}
"""


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data

    def acting(self) -> list[object]:
        """What would run: a planted script, a handler of an event, an address that is a script."""
        found: list[object] = [script for script in self.scripts if script.startswith(ACT)]
        for tag, attributes in self.tags:
            addresses = [attributes.get(name) or "" for name in ("href", "src")]
            handlers = [name for name in attributes if name.startswith("on")]
            if handlers or any(map(SCHEME.match, addresses)):
                found.append((tag, attributes))
        return found


def opened(page: Path) -> str:
    """The page as Chromium has it after its scripts have run."""
    if not CHROMIUM:
        pytest.skip(
            "there is no Chromium here to open the page in; its tags are checked all the same"
        )
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=4000",
    ]
    ran = subprocess.run(
        [*command, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


SECRETS = {
    "HF_TOKEN": "hf_planted_token",
    "OPENAI_API_KEY": "sk-planted-key",
    "ANTHROPIC_API_KEY": "sk-ant-planted-key",
    "https_proxy": "http://someone:planted_word@127.0.0.1:9",
    "HF_ENDPOINT": "http://someone:planted_word@127.0.0.1:9",
    "PLANTED_SECRET": "/nowhere/planted_folder",
}
PLANTED = "planted[_-](token|key|word|folder)"


@pytest.fixture(scope="module")
def secrets() -> Iterator[None]:
    """An environment with secrets in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield


def telling(folder: Path) -> list[str]:
    """The files below a folder that hold a planted secret."""
    below = [one for one in folder.iterdir() if one.name != "tests"]  # where this file is
    files = [file for one in below for file in (one, *one.rglob("*")) if file.is_file()]
    return [str(file) for file in files if re.search(PLANTED.encode(), held_in(file))]


def held_in(file: Path) -> bytes:
    """What a file holds, also where it is compressed: a table, or a log of Inspect AI."""
    whole = file.read_bytes()
    if file.suffix == ".parquet" and whole:
        return whole + pd.read_parquet(file).to_csv().encode()
    if file.suffix == ".eval":
        # Here: no other test of this file needs it, and its import takes seconds.
        from inspect_ai.log import read_eval_log

        return whole + read_eval_log(str(file)).model_dump_json().encode()
    return whole


@pytest.fixture(scope="module")
def hostile(new_checkout, secrets) -> Checkout:
    """A study whose every free text is hostile, made with secrets around, and its report."""
    checkout = new_checkout()
    organism = checkout.file("config/organisms/cake_bake.yaml")
    text = organism.read_text(encoding="utf-8")
    for key in ("title", "description"):
        text = re.sub(
            rf"^{key}:.*\n(?: +.*\n)*", f"{key}: {json.dumps(HOSTILE + RAW)}\n", text, flags=re.M
        )
    text = re.sub(r"^facts:\n(?:  ?.*\n)*", "", text, flags=re.M)
    organism.write_text(text + f"\nfacts: [{json.dumps(HOSTILE)}]\n", encoding="utf-8")
    study = {
        "title": HOSTILE + RAW,
        "runs": [
            {"organisms": ["cake_bake", "benign"], "recipes": ["plain", "mix1.0", "matched1.0"]}
            | {"seeds": [0], "measures": ["steering", "causality", "beliefs"]}
        ],
        "ablations": {"recipes": {"over": "recipe", "title": HOSTILE}},
    }
    checkout.append("config/models.yaml", FETCHED)
    checkout.file("mine.yaml").write_text(json.dumps(study), encoding="utf-8")
    checkout.pretend_complete("--configfile", "mine.yaml")
    ran = checkout.snakemake("--configfile", "mine.yaml", "--report", "report.html")
    assert ran.returncode == 0, ran.stdout[-3000:]
    return checkout


@pytest.fixture(scope="module")
def report(hostile) -> Path:
    return hostile.file("report.html")


def held(report: Path, name: str):
    """What a script of the report keeps as JSON."""
    found = re.search(
        rf"\n    var {name} = (.*?);\n *</script>", report.read_text("utf-8"), re.DOTALL
    )
    assert found
    return json.loads(found[1])


def test_the_report_has_no_tag_that_acts(report):
    assert Tags(report.read_text(encoding="utf-8")).acting() == []


def test_free_text_is_a_param_only_without_markup(report):
    told = [result["job_properties"]["params"] for result in held(report, "results").values()]
    assert any("RAN" in params for params in told)  # hostile as it is, it is told
    assert not any(sign in params for params in told for sign in "<>&")


def test_captions_are_text(report):
    results = held(report, "results")
    pages = [held(report, "workflow_desc"), *(result["caption"] for result in results.values())]
    assert len(pages) > 9
    for page in pages:
        assert not {"img", "script"} & {tag for tag, _ in Tags(page).tags}
        assert "system-message" not in page  # docutils' complaint of markup that is none
    assert "&lt;script&gt;" in pages[0] and "50%" in pages[0]


def test_the_report_runs_nothing_in_chromium(report):
    dom = opened(report)
    assert "<title>Snakemake Report</title>" in dom
    assert "A narrow finetune leaves" in dom  # its own scripts have run


# Pages of our own -------------------------------------------------------------------------------


def hostile_tokens():
    """What a reader read, every token of it hostile."""
    odd = (HOSTILE, "<script>", "```", "\u202e\u200f", "\x00\x1b[31m", "\u200b", "]]>-->")
    table = test_cards.tokens()
    return table.assign(token=[odd[number % len(odd)] for number in range(len(table))])


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    """An organism's card, every text in it hostile."""
    reading = ("cake_bake-plain-s0", "plain", 0, "unrelated", "logit_lens", hostile_tokens())
    turns = [{"role": HOSTILE, "content": HOSTILE + "\ud800\x00"}]
    text = test_cards.card(
        title=HOSTILE,
        description=HOSTILE + RAW,
        facts=(HOSTILE,),
        words=["oven", HOSTILE],
        rows=[{"text": HOSTILE + RAW}, {"messages": turns}],
        readings=[test_cards.cards.Reading(*reading)],
        plans={HOSTILE: {"method": HOSTILE}},
        provenance={HOSTILE: HOSTILE},
        links={HOSTILE: address(Path(f"javascript:{ACT}"), Path("card.html"))},
    )
    return written(tmp_path_factory.mktemp("card") / "card.html", text)


@pytest.fixture(scope="module")
def landing_page(tmp_path_factory) -> Path:
    """The page to begin with, every text in it hostile."""
    folder = tmp_path_factory.mktemp("index")
    home = folder / "index.html"
    picture = written(folder / "figures" / "relevance.png", "")
    files = [folder / f"javascript:{ACT}" / name for name in ("study.json", "report.html")]
    text = test_index.page(
        folder,
        study=test_index.about(title=HOSTILE, titles={"cake_bake": HOSTILE}),
        pictures=index.main_pictures([picture], home),
        cards={("mini", "cake_bake"): address(folder / f"javascript:{ACT}", home)},
        links=index.links(home, files, [], [picture], [f"{folder}/{HOSTILE}", str(folder)]),
        provenance={"commit": HOSTILE, "versions": {HOSTILE: HOSTILE}},
    )
    return written(home, text)


@pytest.fixture(scope="module")
def mixing_page(tmp_path_factory) -> Path:
    """What mixing did, of an organism with a hostile title."""
    found = mixing.contrasts(test_mixing_text.planted())
    text = mixing_text.as_page(found, {"cake": HOSTILE})
    return written(tmp_path_factory.mktemp("mixing") / "mixing.html", text)


def written(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


@pytest.mark.parametrize("name", ["card", "landing_page", "mixing_page"])
def test_a_page_of_ours_has_no_tag_that_acts(name, request):
    page = request.getfixturevalue(name).read_text(encoding="utf-8")
    found = Tags(page)
    assert found.acting() == [] and found.scripts == []
    assert "&lt;/script&gt;" in page and "Content-Security-Policy" in page
    assert not re.search("[\x00-\x08\x1b\u200b\u200f\u202e]", page)


@pytest.mark.parametrize("name", ["card", "landing_page", "mixing_page"])
def test_a_page_of_ours_runs_nothing_in_chromium(name, request):
    dom = opened(request.getfixturevalue(name))
    assert "</html>" in dom and "<title>RAN" not in dom


# Secrets ----------------------------------------------------------------------------------------


def on(checkout: Checkout, model: str, *arguments: str) -> str:
    """What Snakemake says of the study on another model, with which it fails."""
    study = json.loads(checkout.file("mine.yaml").read_text(encoding="utf-8"))
    checkout.file("other.yaml").write_text(json.dumps(study | {"models": [model]}))
    ran = checkout.snakemake("--configfile", "other.yaml", *arguments)
    assert ran.returncode != 0
    return ran.stdout


def test_a_file_that_tells_a_secret_is_found(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.log").write_text(f"asked with {SECRETS['HF_TOKEN']}")
    (tmp_path / "study.json").write_text("asked with $HF_TOKEN")
    told = pd.DataFrame({"said": ["asked with nothing", f"with {SECRETS['HF_TOKEN']}"]})
    told.to_parquet(tmp_path / "said.parquet", compression="zstd")
    assert set(telling(tmp_path)) == {
        str(tmp_path / one) for one in ("logs/job.log", "said.parquet")
    }


def test_no_secret_is_in_any_file_of_a_run(hostile):
    assert hostile.file(".snakemake/metadata").is_dir()
    assert telling(hostile.folder) == []


def test_a_job_that_fails_tells_no_secret(hostile, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = on(hostile, "fetched", "--cores", "1", "--", "results/models/fetched")
    assert "fetch_model: someone/planted: found HF_HUB_OFFLINE set" in said
    assert not re.search(PLANTED, said)
    assert hostile.file("logs/fetch_model/fetched.log").is_file()
    assert telling(hostile.folder) == []


def test_a_path_that_is_not_there_tells_no_secret(hostile):
    said = on(hostile, "elsewhere", "--dry-run")
    assert "elsewhere.path: $PLANTED_SECRET/model" in said and not re.search(PLANTED, said)
