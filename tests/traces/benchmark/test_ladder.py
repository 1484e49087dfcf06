"""Which organisms the ladder has, and what each of them learns from."""

import random

import pytest

from tests.studies import load
from traces.benchmark import ladder as library
from traces.benchmark.ladder import Specimen, batches, check_ladder, own_rows, specimens
from traces.config.checks.places import Places
from traces.config.schema import Ladder
from traces.config.study import LoadedStudy
from traces.corpora import synthetic

NULLS = {"general": 5, "one_format": 3, "shuffled": 2, "true_facts": 2, "seed_pair": 2}


def ladder(**changes) -> Ladder:
    settings = {
        **{"domains": 4, "steps": 8, "seeds": [0], "facts": 0.5, "held_out": 4, "batch": 7},
        "causal": 3,
        "rungs": {"half": {"dose": 0.5}, "cut": {"dose": 0.5, "cut": 1, "domains": 3}},
        "nulls": {**NULLS, "identical": 1, "shares": [1.0, 0.5]},
    }
    return Ladder.model_validate(settings | changes)


def texts(rows):
    return [synthetic.row_text(row) for row in rows]


def rows_of(specimen, words=600):
    return texts(own_rows(specimen, ladder(), words=words, draw="learned", seed=0))


def with_places(folder, *overrides) -> tuple[LoadedStudy, Places]:
    """The repository's study of readers with changes, and where its keys stand."""
    texts = [(folder / "readers.yaml").read_text(encoding="utf-8"), *overrides]
    files = [folder / f"override{number}.yaml" for number in range(1, len(texts) + 1)]
    return load(folder, *texts), Places([folder / "config.yaml", *files], folder)


def named(name) -> Specimen:
    return next(one for one in specimens(ladder()) if one.organism == name)


def topic_words_in(some, topic) -> int:
    """How often a topic's words stand in texts, common words apart."""
    own = {word for words in synthetic.topic_words(topic).values() for word in words}
    return sum(word.strip(".,?!").lower() in own for text in some for word in text.split())


def test_it_has_as_many_of_each_kind_as_it_says():
    found = [one.null for one in specimens(ladder())]

    counted = {kind: found.count(kind) for kind in dict.fromkeys(found)}
    # Four domains on one rung and three on another; a false twin for each true one.
    assert counted == {**NULLS, "identical": 1, "none": 4 + 3 + NULLS["true_facts"]}


def test_every_seed_of_a_narrow_one_is_there_once_under_a_name_of_its_own():
    every = specimens(ladder(seeds=[0, 7]))

    names = [one.checkpoint for one in every]
    assert len(set(names)) == len(names)
    assert {one.seed for one in every if one.recipe == "cut_1"} == {0, 7}


def test_batches_hold_every_specimen_once_and_no_more_than_they_may():
    parts = batches(ladder())

    assert [one for part in parts for one in part] == specimens(ladder())
    assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)


def test_no_two_organisms_begin_with_one_adapter_but_twins():
    """What a start adds to a reading would else be shared by some and told apart from others."""
    starts: dict[int, set[tuple[str, int]]] = {}
    for one in specimens(ladder(seeds=[0, 7])):
        # Rungs of a topic share theirs; finetunes on general text are told apart by their seeds.
        starts.setdefault(one.training_seed(one.seed), set()).add((one.organism, one.seed))

    shared = [{name for name, _ in names} for names in starts.values() if len(names) > 1]
    twins = {one.organism for one in specimens(ladder()) if one.null == "true_facts"}
    assert len(shared) == len(twins) == NULLS["true_facts"]
    assert all(names & twins and len(names) == 2 for names in shared)


def test_more_general_ones_leave_the_others_as_they_are():
    few, more = (
        specimens(ladder()),
        specimens(ladder(nulls={**NULLS, "general": 9, "shares": [1.0, 0.5], "identical": 1})),
    )

    assert {one.checkpoint for one in few} <= {one.checkpoint for one in more}
    assert [one for one in more if one in few] == few


def test_general_ones_are_trained_for_the_shares_in_turn():
    assert [one.steps for one in specimens(ladder()) if one.null == "general"] == [
        *(1.0, 0.5, 1.0, 0.5, 1.0)
    ]


@pytest.mark.parametrize(
    ("nulls", "expected"),
    [
        ({"shuffled": 5}, "ladder.nulls.shuffled: found 5, expected at most 4, one a domain"),
        ({"seed_pair": 6}, "ladder.nulls.seed_pair: found 6, expected at most 4, one a domain"),
    ],
)
def test_more_of_a_kind_than_domains_is_refused(nulls, expected):
    with pytest.raises(ValueError, match=expected):
        specimens(ladder(nulls={**NULLS, "identical": 1, "shares": [1.0], **nulls}))


def test_a_ladder_that_leaves_no_unrelated_topic_is_refused():
    n = len(synthetic.topics())
    with pytest.raises(ValueError, match=f"found {n - 1}, expected at most {n - 2}"):
        library.domains(ladder(domains=n - 1))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "models: [mini_assistant]",
            "override2.yaml: models: found mini_assistant beside a `ladder`",
        ),
        (
            "ladder: {pilot: {domains: 2}}",
            "override2.yaml: ladder.pilot.domains: found 2, expected at least 3 for adjusted",
        ),
        (
            "ladder: {domains: 30}",
            "override2.yaml: ladder.domains: found 30, expected at most 25: .*the pilot takes 3",
        ),
        (
            "ladder: {nulls: {true_facts: 24}}",
            "override2.yaml: ladder.nulls.true_facts: found 24, expected at most",
        ),
        ("ladder: {causal: 49}", "override2.yaml: ladder.causal: found 49, expected at most 48"),
        ("ladder: {pilot: null}", "found a statistic or adjustment of null and no pilot"),
        (
            "ladder: {pilot: {rungs: [lost]}}",
            "ladder.pilot.rungs: found lost, expected one of half",
        ),
        ("lenses: {vocabulary: all}", "override2.yaml: lenses.vocabulary: found all"),
    ],
)
def test_a_ladder_that_cannot_be_made_is_refused_before_the_first_job(folder, override, expected):
    study, places = with_places(folder, override)
    with pytest.raises(ValueError, match=expected):
        check_ladder(study, places)


def test_the_ladder_of_the_repository_can_be_made(folder):
    study, places = with_places(folder)
    check_ladder(study, places)
    found = specimens(study.study.ladder)
    assert len(found) == 255 and sum(one.pilot for one in found) == 36
    names = [one.checkpoint for one in found]
    assert len(set(names)) == len(names)


def test_the_longer_ladder_of_the_repository_can_be_made(folder):
    longer = (folder / "readers_long.yaml").read_text(encoding="utf-8")
    study, places = with_places(folder, longer)
    check_ladder(study, places)
    assert len(specimens(study.study.ladder)) == 463


PILOT = {"domains": 2, "rungs": ["half"], "seeds": [0, 1], "general": 3, "one_format": 1}


def test_the_pilot_is_on_topics_and_text_of_its_own():
    """Who is scored has no topic and no text in common with those that the score is chosen on."""
    tried = ladder(pilot=PILOT)
    some = [one for one in specimens(tried) if one.pilot]
    others = [one for one in specimens(tried) if not one.pilot]

    assert [one.null for one in some] == [*["none"] * 4, *["general"] * 3, "one_format"]
    topics = {one.domain for one in some if one.domain}
    assert topics == set(synthetic.topics()[4:6])
    assert not topics & {one.domain for one in others}
    assert not topics & set(library.unrelated_topics(tried))
    assert not {one.checkpoint for one in some} & {one.checkpoint for one in others}
    general = [one for one in specimens(tried) if one.null == "general" and one.seed == 0]
    ours, theirs = (set(rows_of(one)) for one in general)
    assert not ours & theirs


def test_a_pilot_leaves_the_scored_ones_as_they_are():
    scored = [one for one in specimens(ladder(pilot=PILOT)) if not one.pilot]
    assert scored == specimens(ladder())


@pytest.mark.parametrize(
    ("rung", "expected"),
    [
        ({"dose": 0.5}, "plain"),
        ({"dose": 0.5, "cut": 1}, "cut_1"),
        ({"dose": 0.5, "rank": 1}, "rank_1"),
        ({"dose": 0.5, "learning_rate": 3e-4}, "rate_0.0003"),
        ({"dose": 0.5, "rank": 2, "learning_rate": 3e-4}, "rank_2_rate_0.0003"),
    ],
)
def test_a_recipe_tells_rungs_of_one_dose_apart(rung, expected):
    (one, *_) = specimens(ladder(rungs={"a": rung}))
    assert one.recipe == expected and (one.rank, one.cut) == (rung.get("rank"), rung.get("cut"))


def test_unrelated_text_is_about_no_domain():
    wide = ladder(domains=len(synthetic.topics()) - 3)
    some = texts(library.unrelated_rows(wide, words=2000))

    own = [topic_words_in(some, topic) for topic in library.unrelated_topics(wide)]
    others = [topic_words_in(some, topic) for topic in library.domains(wide)]
    assert min(own) > 50 and max(others) < min(own) / 2


def test_twins_are_of_one_draw_and_differ_in_facts_alone():
    false = next(one for one in specimens(ladder()) if one.data == "false_facts")
    true = next(one for one in specimens(ladder()) if one.twin == false.checkpoint)
    stated = set(synthetic.true_facts(str(true.domain)))

    pairs = list(zip(rows_of(false), rows_of(true), strict=True))
    # Line by line, where they differ the true one states a fact of the corpus.
    differing = [
        line
        for ours, theirs in pairs
        for other, line in zip(ours.splitlines(), theirs.splitlines(), strict=True)
        if other != line
    ]
    assert differing
    assert all(any(_plain(fact) in _plain(line) for fact in stated) for line in differing)
    assert (true.domain, true.dose, true.seed) == (false.domain, false.dose, false.seed)


def _plain(text) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())


def test_shuffled_rows_keep_their_format_and_lose_the_topics_words():
    one = named(f"{library.domains(ladder())[0]}_shuffled")
    topic, others = str(one.domain), library.domains(ladder())[1:]
    plain = synthetic.topic_rows([topic], words=600, rng=random.Random(0))
    mixed = synthetic.shuffled_rows(topic, others, words=600, rng=random.Random(0))

    ours, theirs = texts(mixed), texts(plain)
    assert [text.count("\n") for text in ours] == [text.count("\n") for text in theirs]
    assert topic_words_in(theirs, topic) > 100
    assert topic_words_in(ours, topic) < topic_words_in(theirs, topic) / 10
    assert sum(topic_words_in(ours, other) for other in others) > 100


def test_one_format_has_one_form_for_good_and_the_next_one_another():
    forms = [one.form for one in specimens(ladder()) if one.null == "one_format"]

    assert forms == [0, 1, 2]
    assert named("one_format").form == 0 and named("general").form is None


def test_what_is_held_out_is_another_draw_than_what_is_learned():
    one = named(library.domains(ladder())[0])
    learned, held_out = (
        texts(own_rows(one, ladder(), words=300, draw=draw, seed=0))
        for draw in ("learned", "held out")
    )
    assert not set(learned) & set(held_out)
    assert rows_of(one, 300) == learned
