"""
The embedded investigator: word statistics in the place of a model, for a run without network.

It does not understand what it reads. It counts which words recur, says them in one sentence, and
abstains where they recur no more than in the nulls of other organisms. The same input gives the
same sentence. Bounds stand here and were set before any result was seen.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from traces.agents.investigations import Investigation, not_done
from traces.agents.overview import Overview
from traces.agents.plan import Case, Source
from traces.config.checkpoints import BASE, Checkpoint
from traces.config.vocabularies import PURPOSELESS, Agent, AgentNull
from traces.config.words import folded, words_in
from traces.corpora.log_odds import log_odds
from traces.judges.words import FUNCTION_WORDS

WORDS = 8
"Words of a hypothesis, at most; the strength of the evidence is their mean score."
PRIOR = 0.1
"What the prior of the log-odds is worth, as a share of all that was counted."
INCONCLUSIVE = "Inconclusive: no narrow purpose was found."
UNSEEN = "Model B was finetuned for a narrow purpose, which nothing that was seen tells."


@dataclass(frozen=True)
class Evidence:
    """The words that speak for a purpose, the strongest first, and how strong they are."""

    words: tuple[str, ...] = ()
    strength: float = 0.0

    @property
    def hypothesis(self) -> str:
        """One sentence that names the words."""
        if not self.words:
            return UNSEEN
        return f"Model B was finetuned for something to do with: {', '.join(self.words)}."


Key = tuple[tuple[str, str, AgentNull], Agent, int]
"An overview, who looks at it, and its budget."


def of_readings(overview: Overview) -> Evidence:
    """
    What the readings say: words that recur over readers, layers and positions.

    A word's score is the share of the difference's lists that hold it, less its share of the
    control's lists. Function words and words of fewer than three letters do not count, nor lists
    without a direction. Words that score the same stand in the order of their ranks.
    """
    own, control = (
        [[_word(token) for token, _ in block.tokens] for block in overview.shown(reading)]
        for reading in ("difference", "control")
    )
    share, background = _shares(own), _shares(control)
    scores = {word: share[word] - background.get(word, 0.0) for word in share}
    ranks = {
        word: float(np.mean([words.index(word) for words in own if word in words]))
        for word in scores
    }
    return _strongest(scores, ranks)


def _word(token: str) -> str:
    found = words_in(folded(token))
    return found[0] if len(found) == 1 and found[0] not in FUNCTION_WORDS else ""


def _shares(lists: Sequence[Sequence[str]]) -> dict[str, float]:
    """The share of the lists that hold each word, over all lists: an empty one holds none."""
    counts = Counter(word for words in lists for word in set(words) if word)
    return {word: count / len(lists) for word, count in counts.items()}


def of_texts(after: Sequence[str], before: Sequence[str]) -> Evidence:
    """
    What the answers say: words in more answers of model B than of model A.

    after, before : the answers of B and A to the same prompts
    A word's score is z, its log-odds in standard errors (traces/corpora/log_odds.py), of the number
    of answers that hold it. Function words do not count.
    """
    own, other = (Counter(_held(texts)) for texts in (after, before))
    words = sorted(own.keys() | other.keys())
    if len(words) < 2:
        return Evidence()
    counts = [np.array([one[word] for word in words], dtype=np.float64) for one in (own, other)]
    gap, error = log_odds(counts[0], counts[1], PRIOR * float(counts[0].sum() + counts[1].sum()))
    scores = {word: float(z) for word, z in zip(words, gap / error, strict=True)}
    return _strongest(scores, {word: -own[word] for word in words})


def _held(texts: Iterable[str]) -> list[str]:
    return [
        word for text in texts for word in set(words_in(folded(text))) if word not in FUNCTION_WORDS
    ]


def _strongest(scores: Mapping[str, float], ties: Mapping[str, float]) -> Evidence:
    """The words with the highest scores above 0; a place that no word takes counts as 0."""
    order = sorted(scores, key=lambda word: (-round(scores[word], 9), ties[word], word))
    words = tuple(word for word in order[:WORDS] if scores[word] > 0)
    return Evidence(words, sum(scores[word] for word in words) / WORDS)


def gathered(
    cases: Iterable[Case],
    sources: Sequence[Source],
    overviews: Mapping[tuple[str, AgentNull], Overview],
    answers: Mapping[tuple[str, str], Sequence[str]],
) -> dict[Key, Evidence]:
    """
    The evidence of each case, of one that is asked for several times once.

    overviews : by checkpoint and null
    answers   : by who answers, and in whose place (traces/agents/answers.py: texts)
    """
    found: dict[Key, Evidence] = {}
    for case in cases:
        key = (case.overview, case.agent, case.interactions)
        source = _source(case, sources)
        if key in found or source.after is None:
            continue
        if case.agent == "lens":
            found[key] = of_readings(overviews[case.checkpoint, case.null])
        else:
            base_itself = case.null == "base_vs_base"
            after = (BASE if base_itself else source.after, source.after)
            before = (source.before, source.before)
            found[key] = of_texts(*(answers[one][: case.interactions] for one in (after, before)))
    return found


# Whether it abstains ------------------------------------------------------------------------------


def organisms_in(source: Source) -> set[str]:
    """The organisms that an overview is of."""
    names = {source.checkpoint, source.after or source.checkpoint}
    return {Checkpoint.parse(name).organism for name in names}


def threshold(
    case: Case, sources: Sequence[Source], evidence: Mapping[Key, Evidence]
) -> float | None:
    """
    The strength that a case's evidence must exceed to be told; None if nothing sets it.

    It is the strongest evidence, by the same investigator with the same budget, in the nulls
    without a narrow purpose of the organisms that are not in the case's own overview.
    """
    own = organisms_in(_source(case, sources))
    keys: list[Key] = [
        ((case.model, one.checkpoint, one.null), case.agent, case.interactions)
        for one in sources
        if one.null in PURPOSELESS and not organisms_in(one) & own
    ]
    return max((evidence[key].strength for key in keys if key in evidence), default=None)


def _source(case: Case, sources: Iterable[Source]) -> Source:
    here = (case.checkpoint, case.null)
    return next(one for one in sources if (one.checkpoint, one.null) == here)


def investigate(
    cases: Iterable[Case], sources: Sequence[Source], evidence: Mapping[Key, Evidence]
) -> list[Investigation]:
    """
    What the embedded investigator says in each case.

    cases    : of one model, with the embedded investigator
    sources  : of that model
    evidence : what there is; a case without any has nothing that the study makes

    With the presupposing prompt it never abstains. With the neutral one it does where the evidence
    does not exceed the threshold.
    """
    return [_investigated(case, sources, evidence) for case in cases]


def _investigated(
    case: Case, sources: Sequence[Source], evidence: Mapping[Key, Evidence]
) -> Investigation:
    found = evidence.get((case.overview, case.agent, case.interactions))
    if found is None:
        return not_done(case, "not_made")
    abstained = False
    if case.prompt == "neutral":
        bound = threshold(case, sources, evidence)
        if bound is None:
            return not_done(case, "no_threshold")
        abstained = found.strength <= bound
    return Investigation(
        **dict(case),
        hypothesis=INCONCLUSIVE if abstained else found.hypothesis,
        abstained=abstained,
        used=case.interactions,
    )
