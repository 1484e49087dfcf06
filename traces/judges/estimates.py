"""What a study's judges will ask and cost, before anything is asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from traces.config.checkpoints import Checkpoint
from traces.config.files import local
from traces.config.readers import reader
from traces.config.schema import Grader, Trials
from traces.config.study import LoadedStudy
from traces.config.vocabularies import ASKED_WITH, Asks
from traces.corpora.rows import read_prompts
from traces.corpora.synthetic import fact_statements
from traces.judges import asked_answers, asked_coherence, asked_scales
from traces.judges.asked_relevance import AskedTokenJudge
from traces.judges.chat.costs import BYTES_A_TOKEN, Price, usual_tokens
from traces.judges.chat.questions import Question
from traces.judges.graders import settings_of
from traces.judges.relevance import Subject

# Assumptions: letters of a token, and tokens that an answer takes for each entry and for thoughts.
TOKEN = "relevant"
ENTRY_TOKENS, THOUGHT_TOKENS = 12, 600
# Unsteered trial texts are at least so many times those of a position (steering/requests.py), and
# the bisection tries so many halvings at once.
REFERENCES, LEVELS = 4, 3
COLUMNS = ["stage", "model_id", "calls", "input_tokens", "output_tokens", "money", "most"]


class Planned(NamedTuple):
    """What each grader is asked, each time."""

    calls: int
    question: Callable[[Grader], Question]
    "One that stands for all."
    entries: int
    "Entries of its answer."


def estimated(loaded: LoadedStudy, texts: Mapping[str, str]) -> pd.DataFrame:
    """
    Estimate what a study's judges cost, whatever is answered already.

    texts   : the graders' instructions, by their names in data/rubrics
    returns : stage, model_id, calls, input_tokens, output_tokens, money (US dollars, missing
              without a price) and most (the same if each request costs the most it may)

    Without a run that has `judges` among its measures, all checkpoints of the study are counted.
    """
    rows = [
        row
        for asks in loaded.study.judges.questions
        for planned in STAGES[asks](loaded, texts)
        for row in _rows(loaded, f"judge_{asks}", planned)
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.groupby(COLUMNS[:2], as_index=False, sort=False).sum(min_count=1)


def judged(loaded: LoadedStudy, asks: Asks) -> Iterator[tuple[str, Checkpoint]]:
    """Every model and checkpoint that graders are asked about."""
    planned = not loaded.checkpoints("judges")
    for model in loaded.study.models:
        for checkpoint in loaded.asked(asks, model, planned=planned):
            yield model, checkpoint


def _rows(loaded: LoadedStudy, stage: str, planned: Planned) -> Iterator[list[object]]:
    calls = planned.calls * loaded.study.judges.repeats
    for grader in loaded.study.judges.graders:
        question = planned.question(grader)
        read = usual_tokens(question)
        written = ENTRY_TOKENS * planned.entries + THOUGHT_TOKENS
        written = min(written, settings_of(grader).max_tokens)
        known = loaded.prices.models.get(grader.model)
        price = None if known is None else Price(known.input, known.output)
        yield [
            stage,
            grader.model,
            calls,
            calls * read,
            calls * written,
            None if price is None else calls * price.of(read, written),
            None if price is None else calls * price.most(question),
        ]


# Tokens -----------------------------------------------------------------------------------------


def lists_judged(loaded: LoadedStudy, corpus: str) -> int:
    """Count the lists of tokens of one checkpoint that are judged: at each reader's metric."""
    # What is adjusted by other organisms' readings is not judged.
    readers = [one for one in loaded.study.lenses.readers if reader(one).needs != "others"]
    return len(loaded.study.judges.tokens.readings) * _places(loaded, corpus) * len(readers)


def _places(loaded: LoadedStudy, corpus: str) -> int:
    # A reader without a layer or position says one thing beside each that is read.
    return len(loaded.layers(corpus)) * len(loaded.positions(corpus))


def _relevance(loaded: LoadedStudy, texts: Mapping[str, str]) -> Iterator[Planned]:
    study = loaded.study
    entries = study.relevance.candidates
    for model, checkpoint in judged(loaded, "relevance"):
        for corpus in loaded.corpora_of(checkpoint, model):
            calls = lists_judged(loaded, corpus) * study.judges.tokens.orders
            for organism in loaded.judged_on(checkpoint, model):
                words = [TOKEN] * study.relevance.words
                subject = Subject(organism, words, loaded.organisms[organism].description)

                def question(grader: Grader, subject: Subject = subject) -> Question:
                    judge = AskedTokenJudge(
                        None,  # nothing is asked
                        grader,
                        texts[ASKED_WITH["relevance"]],
                        orders=1,
                        agreement=study.judges.tokens.agreement,
                        seed=study.seed,
                    )
                    (one,) = judge.questions([TOKEN] * entries, subject)
                    return one

                yield Planned(calls, question, entries)


# Patchscope's scales ----------------------------------------------------------------------------


def _scales(loaded: LoadedStudy, texts: Mapping[str, str]) -> Iterator[Planned]:
    study = loaded.study
    settings, n = study.judges.scales, len(study.lenses.patchscope.scales)
    matches = asked_scales.matches(n, settings.group) * settings.orders
    # A question of the first round, in which as many lists as can be are compared.
    shown = len(asked_scales.groups(range(n), settings.group)[0])
    lists = [[TOKEN] * min(settings.entries, study.lenses.top_k)] * shown

    def question(grader: Grader) -> Question:
        return asked_scales.question(lists, grader, texts[ASKED_WITH["scales"]], seed=study.seed)

    for model, checkpoint in judged(loaded, "scales"):
        for corpus in loaded.corpora_of(checkpoint, model):
            places = len(study.judges.tokens.readings) * _places(loaded, corpus)
            yield Planned(places * matches, question, 1)


# Steered texts ----------------------------------------------------------------------------------


def texts_judged(settings: Trials, prompts: int) -> int:
    """Count the trial texts of one model: at most, where the bisection decides what is written."""
    samples, positions = settings.trial.samples, len(settings.positions)
    plain = prompts * max(positions, REFERENCES) * samples
    if settings.strategy == "grid":
        return plain + prompts * positions * samples * len(settings.strengths)
    tried = sum(map(_midpoints, settings.bisection.steps))
    return plain + positions * samples * tried


def _midpoints(steps: int) -> int:
    """Strengths that so many halvings try, the midpoints of LEVELS of them at once."""
    whole, rest = divmod(steps, LEVELS)
    return whole * (2**LEVELS - 1) + 2**rest - 1


def _coherence(loaded: LoadedStudy, texts: Mapping[str, str]) -> Iterator[Planned]:
    study = loaded.study
    cases = list(judged(loaded, "coherence"))
    if not cases:
        return
    prompts = read_prompts(local(study.steering.trial.prompts))
    of_one = texts_judged(study.steering, len(prompts))
    written = "x" * BYTES_A_TOKEN * study.steering.trial.max_new_tokens

    def question(grader: Grader) -> Question:
        longest = max(prompts, key=len)
        told = texts[ASKED_WITH["coherence"]]
        return asked_coherence.question(longest, written, grader, told, seed=study.seed)

    for _model, _checkpoint in cases:
        # Steering is of each of the study's own texts that differences are read on.
        calls = of_one * len(study.judges.coherence.models) * len(study.corpora)
        yield Planned(calls, question, 1)


# Open answers -----------------------------------------------------------------------------------


def _beliefs(loaded: LoadedStudy, texts: Mapping[str, str]) -> Iterator[Planned]:
    study, settings = loaded.study, loaded.study.judges.beliefs
    models: list[str] = []
    for model, _checkpoint in judged(loaded, "beliefs"):
        pairs = [pair for name in loaded.believed(model) for pair in _statements(loaded, name)]
        longest = max(pairs, key=lambda pair: len(str(pair)))
        answer = "x" * BYTES_A_TOKEN * study.beliefs.max_new_tokens

        def question(grader: Grader, longest: Mapping = longest, answer: str = answer) -> Question:
            told = texts[ASKED_WITH["beliefs"]]
            options = {"orders": 1, "seed": study.seed}
            return asked_answers.questions(answer, longest, grader, told, **options)[0].question

        # The base gives the same answers beside every checkpoint, and is judged once.
        readers = 1 if model in models else 2
        models.append(model)
        yield Planned(len(pairs) * settings.orders * readers, question, 1)


def _statements(loaded: LoadedStudy, organism: str) -> Sequence[Mapping]:
    entry = loaded.organisms[organism]
    if entry.statements == "made":
        return fact_statements(entry.data.made or "")
    return [pair.model_dump() for pair in entry.statements]


STAGES: Mapping[Asks, Callable[[LoadedStudy, Mapping[str, str]], Iterator[Planned]]] = {
    "relevance": _relevance,
    "coherence": _coherence,
    "scales": _scales,
    "beliefs": _beliefs,
}
