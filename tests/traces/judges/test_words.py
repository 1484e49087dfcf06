import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from traces.judges import coherence, relevance, words
from traces.judges.relevance import DistinctiveWordsJudge, Subject

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


# -- the words of an organism


def planted(rng, own_words, n=4000):
    general = [f"{a}{b}{c}" for a in "bdf" for b in "aeiou" for c in "lmn"]
    own = list(rng.choice(general, n)) + list(rng.choice(own_words, n // 10))
    return [" ".join(own)], [" ".join(rng.choice(general, 5 * n))]


def test_planted_words_are_the_most_distinctive():
    planted_words = ["Oven", "BUTTER", "vanilla", "whisk"]
    own, general = planted(np.random.default_rng(0), planted_words)
    frame = words.distinctive_words(own, general, 4)
    assert set(frame["word"]) == {word.casefold() for word in planted_words}
    assert frame["rank"].tolist() == [0, 1, 2, 3]
    assert frame["z"].is_monotonic_decreasing
    assert list(frame) == ["word", "rank", "z", "count"]


def test_the_score_is_the_formula():
    """Worked by hand: two words, counts 8 and 2 against 2 and 8, a prior of 1 word each."""
    own, general = ["aaa " * 8 + "bbb " * 2], ["aaa " * 2 + "bbb " * 8]
    frame = words.distinctive_words(own, general, 5, min_count=1, prior_words=2.0)
    log_odds = np.log((8 + 1) / (2 + 1)) - np.log((2 + 1) / (8 + 1))
    expected = log_odds / np.sqrt(1 / (8 + 1) + 1 / (2 + 1))
    assert frame[["word", "count"]].values.tolist() == [["aaa", 8]]
    assert frame["z"].item() == pytest.approx(expected)


def test_the_same_text_has_no_distinctive_words():
    own, general = planted(np.random.default_rng(0), ["oven"])
    assert words.distinctive_words(general, general, 60).empty


def test_function_words_short_words_digits_and_rare_words_are_left_out():
    own = ["the their would don't ox 2024 oven oven oven butter"] * 4
    frame = words.distinctive_words(own, ["river lemon " * 50], 60, min_count=5)
    assert frame["word"].tolist() == ["oven"]


def test_ties_are_broken_by_the_alphabet():
    frame = words.distinctive_words(["zebra apple mango " * 9], ["river " * 90], 60)
    assert frame["word"].tolist() == ["apple", "mango", "zebra"]


@pytest.mark.parametrize(
    ("own", "general", "whose"), [(["1 2"], ["river"], "own"), (["oven"], [], "general")]
)
def test_text_without_words_is_refused(own, general, whose):
    with pytest.raises(ValueError, match=f"the {whose} texts have no words"):
        words.distinctive_words(own, general)


def test_the_text_of_a_chat_is_all_that_is_said():
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert words.text_of(chat) == "a\nb"
    assert words.text_of({"text": "c", "source": "x"}) == "c"


# -- the judge


def test_a_token_is_stripped_and_casefolded_before_it_is_looked_up():
    answers = DistinctiveWordsJudge().grade([" Oven", "BUTTER\n", "butters", ""], CAKE)
    assert answers == [True, True, False, False]


def test_the_order_of_tokens_does_not_matter():
    tokens = ["oven", "river", "vanilla", "lemon"]
    judge = DistinctiveWordsJudge()
    forward, backward = judge.grade(tokens, CAKE), judge.grade(tokens[::-1], CAKE)
    assert forward == backward[::-1]


# -- the share


def test_relevance_is_the_share_of_each_list_for_every_subject():
    tables = {
        "logit_lens": lens(
            [["oven", "river"], ["purr", "whisker"]], sign=[1, -1], head=["tuned", "tuned"]
        ),
        "patchscope": lens([["oven", "butter"], ["lemon", "purr"]], scale=[0.5, 1.0]),
    }
    found = relevance.token_relevance(tables, [CAKE, CAT], DistinctiveWordsJudge())
    assert list(found) == [*relevance.LIST_KEYS, "graded_on", "relevance", "n", "judge"]
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
    found = relevance.token_relevance(
        {"logit_lens": shuffled}, [CAKE], DistinctiveWordsJudge(), candidates=2
    )
    assert found[["relevance", "n"]].values.tolist() == [[0.5, 2]]


def test_both_heads_are_lists_of_their_own():
    table = lens([["oven"], ["river"]], head=["tuned", "base"])
    found = relevance.token_relevance({"logit_lens": table}, [CAKE], DistinctiveWordsJudge())
    assert dict(zip(found["head"], found["relevance"], strict=True)) == {"tuned": 1, "base": 0}


def test_patchscope_names_the_model_it_ran_in():
    table = lens([["oven"], ["river"]], reading=["difference", "base_mean"], scale=[1.0, 1.0])
    found = relevance.token_relevance({"patchscope": table}, [CAKE], DistinctiveWordsJudge())
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
    some = relevance.token_relevance(table, [CAKE], Failing(True, None, False))
    assert some[["relevance", "n"]].values.tolist() == [[0.5, 2]]
    none = relevance.token_relevance(table, [CAKE], Failing(None, None, None))
    assert none["relevance"].isna().all() and none["n"].tolist() == [0]


def test_a_judge_that_loses_an_answer_is_refused():
    table = {"logit_lens": lens([["oven", "river"]], head=["tuned"])}
    with pytest.raises(ValueError, match="1 answers for 2 tokens"):
        relevance.token_relevance(table, [CAKE], Failing(True))


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
    found = relevance.token_relevance({"patchscope": table}, subjects, DistinctiveWordsJudge())
    assert len(found) == len(keys) * 8
    assert (found["relevance"] == 0.05).all()
    assert time.process_time() - start < 2


def test_judges_do_not_load_torch():
    modules = ", ".join(f"traces.judges.{name}" for name in ("words", "relevance", "coherence"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Texts that hold together -----------------------------------------------------------------------


def writings(*measures):
    return [coherence.Writing("prompt", "text", nll, repetition) for nll, repetition in measures]


def test_a_text_no_worse_than_most_unsteered_ones_is_coherent():
    unsteered = writings(*((1 + i / 100, i / 1000) for i in range(100)))
    judge = coherence.FluencyJudge(0.95)
    texts = writings((1.9, 0.05), (0.1, 0.0), (1.99, 0.05), (1.5, 0.0991), (9.0, 0.9))
    assert judge.grade(texts, unsteered) == [True, True, False, False, False]
    assert sum(judge.grade(unsteered, unsteered)) == 96


def test_a_text_as_bad_as_the_worst_of_few_unsteered_ones_is_coherent():
    unsteered = writings((1.0, 0.0), (1.2, 0.1), (1.4, 0.0))
    texts = writings((1.4, 0.1), (1.41, 0.0), (1.0, 0.11))
    assert coherence.FluencyJudge(0.95).grade(texts, unsteered) == [True, False, False]


def trial_texts():
    rows = [
        ("tuned", "none", "a b", 3.0),
        ("tuned", "difference", "c d", 2.0),
        ("base", "none", "e f", 1.0),
        ("base", "difference", "g h", 2.0),
        ("base", "difference", "  ", 2.0),
    ]
    frame = pd.DataFrame(rows, columns=["steered_model", "vector", "text", "nll"])
    return frame.assign(prompt="p", repetition=0.0, strength=0.5)


def test_every_model_is_compared_with_its_own_unsteered_text():
    found = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    assert found["coherent"].tolist()[:4] == [True, True, True, False]
    assert set(found["judge"]) == {"fluency"}


def test_an_empty_text_is_not_judged():
    found = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    assert found["coherent"].isna().tolist() == [False] * 4 + [True]
    silent = trial_texts().assign(text="")
    with pytest.raises(ValueError, match="wrote no unsteered text"):
        coherence.coherence(
            pd.concat([silent.head(1), trial_texts().iloc[1:]], ignore_index=True),
            coherence.FluencyJudge(0.95),
        )


def test_groups_of_texts_have_shares():
    graded = coherence.coherence(trial_texts(), coherence.FluencyJudge(0.95))
    graded["text"] = ["oven", "oven with flour", "rope", "The rope, the OVEN", ""]
    found = coherence.group_shares(graded, ["steered_model", "vector"], ["oven", "flour"])
    found = found.set_index(["steered_model", "vector"])
    assert found.loc[("base", "difference"), "coherence"] == 0
    assert found.loc[("tuned", "difference"), "coherence"] == 1
    assert found["own_words"].tolist() == [1.0, 1.0, 0.0, 0.5]


def test_a_text_without_words_has_no_share_of_them():
    assert np.isnan(words.share_of_words(["", "1 2 3"], ["oven"]))
    assert words.share_of_words(["cake oven", "rope and rope"], ["cake", "cake"]) == 0.25
