"""What a study's judges will ask and cost, before anything is asked."""

from collections.abc import Iterator

import pandas as pd

from traces.config.readers import reader
from traces.config.study import LoadedStudy
from traces.judges.asked_relevance import AskedTokenJudge
from traces.judges.chat.costs import Price, usual_tokens
from traces.judges.graders import settings_of
from traces.judges.relevance import Subject

# Assumptions: letters of a token, and tokens that an answer takes for each entry and for thoughts.
TOKEN = "relevant"
ENTRY_TOKENS, THOUGHT_TOKENS = 12, 600
COLUMNS = ["stage", "model_id", "calls", "input_tokens", "output_tokens", "money", "most"]


def estimated(loaded: LoadedStudy, instructions: str) -> pd.DataFrame:
    """
    Estimate what judging a study's readings costs, whatever is answered already.

    instructions : the text of data/rubrics/judge_tokens.txt
    returns      : stage, model_id, calls, input_tokens, output_tokens, money (US dollars, missing
                   without a price) and most (the same if each request costs the most it may)

    Without a run that has `judges` among its measures, all checkpoints of the study are counted.
    """
    rows = [row for case in judged(loaded) for row in _rows(loaded, *case, instructions)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.groupby(COLUMNS[:2], as_index=False, sort=False).sum(min_count=1)


def judged(loaded: LoadedStudy) -> Iterator[tuple[str, str]]:
    """The corpus of every difference whose readings are judged, with each organism judged on."""
    measure = "judges" if loaded.checkpoints("judges") else None
    for model in loaded.study.models:
        for checkpoint in loaded.checkpoints(measure, model):
            for corpus in loaded.corpora_of(checkpoint, model):
                for organism in loaded.judged_on(checkpoint, model):
                    yield corpus, organism


def lists_judged(loaded: LoadedStudy, corpus: str) -> int:
    """Count the lists of tokens of one checkpoint that are judged: at each reader's metric."""
    judges = loaded.study.judges
    # A reader without a layer or position says one thing beside each that is read.
    places = len(loaded.layers(corpus)) * len(loaded.positions(corpus))
    # What is adjusted by other organisms' readings is not judged.
    readers = [one for one in loaded.study.lenses.readers if reader(one).needs != "others"]
    return len(judges.tokens.readings) * places * len(readers)


def _rows(loaded: LoadedStudy, corpus: str, organism: str, text: str) -> Iterator[list[object]]:
    study = loaded.study
    words = [TOKEN] * study.relevance.words
    subject = Subject(organism, words, loaded.organisms[organism].description)
    entries = study.relevance.candidates
    for grader in study.judges.graders:
        judge = AskedTokenJudge(
            None,  # nothing is asked
            grader,
            text,
            orders=1,
            agreement=study.judges.tokens.agreement,
            seed=study.seed,
        )
        (question,) = judge.questions([TOKEN] * entries, subject)
        calls = lists_judged(loaded, corpus) * study.judges.tokens.orders * study.judges.repeats
        read, written = usual_tokens(question), ENTRY_TOKENS * entries + THOUGHT_TOKENS
        written = min(written, settings_of(grader).max_tokens)
        known = loaded.prices.models.get(grader.model)
        price = None if known is None else Price(known.input, known.output)
        yield [
            "judge_relevance",
            grader.model,
            calls,
            calls * read,
            calls * written,
            None if price is None else calls * price.of(read, written),
            None if price is None else calls * price.most(question),
        ]
