"""The share of a list of tokens that is about an organism."""

import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from traces.judges import relevance
from traces.judges.relevance import LIST_KEYS, DistinctiveWordsJudge, Subject

CAKE = Subject("cake", words=("oven", "butter", "vanilla"))
CAT = Subject("cat", words=("whisker", "purr"))


def lens(lists, **axes):
    """A lens table of some lists of tokens, each with the values of its axes."""
    rows = []
    for number, tokens in enumerate(lists):
        for rank, token in enumerate(tokens):
            row = {"reading": "difference", "layer": 2, "position": 0, "sign": 1}
            row |= {name: values[number] for name, values in axes.items()}
            rows.append(row | {"rank": rank, "token_id": 0, "token": token, "probability": 0.1})
    return pd.DataFrame(rows)


def graded(tables, subjects, judge=None, *, planned=None, **options):
    """The relevance of these tables; without `planned`, of the lists that they hold."""
    held = {name: one.drop(columns=["rank", "token"]) for name, one in tables.items()}
    return relevance.token_relevance(
        tables, planned or held, subjects, judge or DistinctiveWordsJudge(), **options
    )


def test_a_token_is_stripped_and_casefolded_before_it_is_looked_up():
    answers = DistinctiveWordsJudge().grade([" Oven", "BUTTER\n", "butters", ""], CAKE)
    assert answers == [True, True, False, False]


def test_the_order_of_tokens_does_not_matter():
    tokens = ["oven", "river", "vanilla", "lemon"]
    judge = DistinctiveWordsJudge()
    forward, backward = judge.grade(tokens, CAKE), judge.grade(tokens[::-1], CAKE)
    assert forward == backward[::-1]


def test_relevance_is_the_share_of_each_list_for_every_subject():
    tables = {
        "logit_lens": lens(
            [["oven", "river"], ["purr", "whisker"]], sign=[1, -1], head=["tuned", "tuned"]
        ),
        "patchscope": lens([["oven", "butter"], ["lemon", "purr"]], scale=[0.5, 1.0]),
    }
    found = graded(tables, [CAKE, CAT], candidates=2)
    columns = ["graded_on", "relevance", "n", "candidates", "judge"]
    assert list(found) == [*relevance.LIST_KEYS, *columns]
    assert len(found) == 8
    share = found.set_index(["lens", "sign", "scale", "graded_on"])["relevance"].to_dict()
    assert share == {
        ("logit_lens", 1, 1.0, "cake"): 0.5,
        ("logit_lens", 1, 1.0, "cat"): 0,
        ("logit_lens", -1, 1.0, "cake"): 0,
        ("logit_lens", -1, 1.0, "cat"): 1,
        ("patchscope", 1, 0.5, "cake"): 1,
        ("patchscope", 1, 0.5, "cat"): 0,
        ("patchscope", 1, 1.0, "cake"): 0,
        ("patchscope", 1, 1.0, "cat"): 0.5,
    }


def test_only_the_first_candidates_are_judged_whatever_the_order_of_rows():
    table = lens([["oven", "river", "butter", "vanilla"]], head=["tuned"])
    shuffled = table.sample(frac=1, random_state=0)
    found = graded({"logit_lens": shuffled}, [CAKE], candidates=2)
    assert found[["relevance", "n"]].values.tolist() == [[0.5, 2]]


def test_both_heads_are_lists_of_their_own():
    table = lens([["oven"], ["river"]], head=["tuned", "base"])
    found = graded({"logit_lens": table}, [CAKE], candidates=1)
    assert dict(zip(found["head"], found["relevance"], strict=True)) == {"tuned": 1, "base": 0}


def test_patchscope_names_the_model_it_ran_in():
    table = lens([["oven"], ["river"]], reading=["difference", "base_mean"], scale=[1.0, 1.0])
    found = graded({"patchscope": table}, [CAKE])
    assert dict(zip(found["reading"], found["head"], strict=True)) == {
        "difference": "tuned",
        "base_mean": "base",
    }


class Failing:
    name = "failing"

    def __init__(self, *answers):
        self.answers = list(answers)

    def grade(self, tokens, subject):
        return self.answers


def test_a_failed_answer_is_missing_and_never_a_score():
    table = {"logit_lens": lens([["oven", "river", "lemon"]], head=["tuned"])}
    some = graded(table, [CAKE], Failing(True, None, False), candidates=3)
    assert some[["relevance", "n"]].values.tolist() == [[0.5, 2]]
    none = graded(table, [CAKE], Failing(None, None, None))
    assert none["relevance"].isna().all() and none["n"].tolist() == [0]


def test_a_short_list_is_no_better_for_its_shortness():
    table = lens([["oven"], ["oven", "butter", "river", "lemon"]], scale=[1.0, 2.0])
    found = graded({"patchscope": table}, [CAKE], candidates=4)
    assert found[["relevance", "n"]].values.tolist() == [[0.25, 1], [0.5, 4]]
    assert set(found["candidates"]) == {4}


def test_every_planned_list_has_a_row_also_where_no_reader_found_a_token():
    """The prompts agreed on nothing at position 1, and the other reader found nothing at all."""
    table = lens([["oven"], ["river"]], scale=[1.0, 2.0])
    places = pd.DataFrame({"reading": "difference", "layer": 2, "position": [0, 1]})
    planned = {
        "patchscope": places.merge(pd.DataFrame({"sign": 1, "scale": [1.0, 2.0]}), how="cross"),
        "logit_lens": places.merge(pd.DataFrame({"head": ["tuned", "base"]}), how="cross"),
    }
    tables = {"patchscope": table, "logit_lens": table[:0]}
    found = graded(tables, [CAKE, CAT], planned=planned, candidates=2)
    assert len(found) == 2 * (4 + 4) == len(found.drop_duplicates([*LIST_KEYS, "graded_on"]))
    without = found[(found["position"] == 1) | (found["lens"] == "logit_lens")]
    assert len(without) == 2 * (2 + 4)
    assert not without[["relevance", "n"]].any(axis=None)
    assert found["relevance"].sum() == 0.5


def test_a_list_that_was_not_planned_is_refused():
    table = lens([["oven"], ["river"]], scale=[1.0, 2.0])
    planned = {"patchscope": table[:1].drop(columns=["rank", "token"])}
    with pytest.raises(ValueError, match="a list of tokens that was not asked for: .* scale 2.0"):
        graded({"patchscope": table}, [CAKE], planned=planned)


def test_a_judge_that_loses_an_answer_is_refused():
    table = {"logit_lens": lens([["oven", "river"]], head=["tuned"])}
    with pytest.raises(ValueError, match="1 answers for 2 tokens"):
        graded(table, [CAKE], Failing(True))


def test_a_whole_organism_is_graded_in_seconds():
    """30 scales, 4 readings, 5 positions, 2 signs, 8 organisms."""
    keys = [(r, p, s, c) for r in range(4) for p in range(5) for s in (1, -1) for c in range(30)]
    table = lens(
        [["oven", *["river"] * 19]] * len(keys),
        reading=[str(key[0]) for key in keys],
        position=[key[1] for key in keys],
        sign=[key[2] for key in keys],
        scale=[float(key[3]) for key in keys],
    )
    subjects = [Subject(f"organism_{n}", words=CAKE.words) for n in range(8)]
    start = time.process_time()
    found = graded({"patchscope": table}, subjects)
    assert len(found) == len(keys) * 8
    assert (found["relevance"] == 0.05).all()
    assert time.process_time() - start < 2


def test_judges_do_not_load_torch():
    modules = ", ".join(f"traces.judges.{name}" for name in ("words", "relevance", "coherence"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_tokens_and_words_are_compared_composed(form):
    subject = Subject("czech", words=(unicodedata.normalize(form, "Těsto "), "烤箱"))
    tokens = [" těsto", unicodedata.normalize("NFD", "TĚSTO"), "烤箱", "testo"]
    assert DistinctiveWordsJudge().grade(tokens, subject) == [True, True, True, False]


ABOUT = ["Bakes cakes.", "Likes cats."]


@pytest.mark.parametrize(("described", "texts"), [((), ["", ""]), ((ABOUT,), ABOUT)])
def test_words_stand_under_the_organism_they_are_of(monkeypatch, described, texts):
    monkeypatch.setattr(
        relevance.tables, "read", lambda path: pd.DataFrame({"word": [path.stem, "river"]})
    )
    kind = relevance.DescribedFiles if described else relevance.WordFiles
    files = kind([Path("oven.parquet"), Path("purr.parquet")], ["cake", "cat"], *described)
    assert files.subjects() == [
        Subject("cake", ["oven", "river"], texts[0]),
        Subject("cat", ["purr", "river"], texts[1]),
    ]
