"""What investigators and the graders of hypotheses will cost, before any is asked."""

from collections import Counter
from collections.abc import Iterator, Mapping

import pandas as pd

from traces.agents.plan import Case, planned, shown, sources
from traces.agents.tools import MOST_PROMPTS
from traces.config.readers import reader
from traces.config.schema import Grader
from traces.config.study import LoadedStudy
from traces.config.vocabularies import RULES
from traces.judges import hypotheses
from traces.judges.chat.costs import Price, usual_tokens
from traces.judges.estimates import COLUMNS, THOUGHT_TOKENS
from traces.judges.graders import settings_of

# Assumptions. Looks at readings of one run, prompts in one call, and tokens: of a look's result, of
# a call, of what an overview says of one token and of one steered text.
LOOKS, PROMPTS = 4, 5
LOOK_TOKENS, CALL_TOKENS, ENTRY_TOKENS, STEERED_TOKENS = 300, 100, 12, 150
# Tokens of the tools' descriptions, and of a hypothesis.
TOOL_TOKENS, HYPOTHESIS_TOKENS = 700, 120


def estimated(
    loaded: LoadedStudy, texts: Mapping[str, str], rubrics: Mapping[str, str]
) -> pd.DataFrame:
    """
    Estimate what investigating and grading cost, whatever is answered already.

    texts, rubrics : the files of data/agents and data/rubrics by their names
    returns        : the columns of `judges.estimates.estimated`, one row a stage and model
    """
    cases = [
        case
        for model in loaded.study.models
        # What the study makes nothing of is a row as well, but nobody is asked.
        for made in [{(one.checkpoint, one.null) for one in sources(loaded, model) if one.after}]
        for case in planned(shown(loaded, model), loaded.study.agents)
        if (case.checkpoint, case.null) in made
    ]
    rows = [*_investigating(loaded, cases, texts), *_grading(loaded, cases, rubrics)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.groupby(COLUMNS[:2], as_index=False, sort=False).sum(min_count=1)


def turns_of(case: Case, most: int) -> int:
    """How many turns a run is assumed to take: looks, calls that ask, and the submission."""
    asks = -(-case.interactions // min(PROMPTS, MOST_PROMPTS))
    return min(most, (LOOKS if case.agent == "lens" else 0) + asks + 1)


def _investigating(
    loaded: LoadedStudy, cases: list[Case], texts: Mapping[str, str]
) -> Iterator[list[object]]:
    agents = loaded.study.agents
    for agent in (one for one in agents.models if not isinstance(one, str)):
        # Cases that are graded on several organisms are one conversation.
        mine = {(*one.overview, one.agent, one.prompt, one.interactions, one.run): one
                for one in cases if one.agent_model == agent.name}  # fmt: skip
        kinds = Counter((one.agent, one.prompt, one.interactions) for one in mine.values())
        example = {(one.agent, one.prompt, one.interactions): one for one in mine.values()}
        for kind, n in kinds.items():
            yield _runs(loaded, agent, example[kind], n, texts)


def _runs(
    loaded: LoadedStudy, agent: Grader, case: Case, n: int, texts: Mapping[str, str]
) -> list[object]:
    """The estimate of `n` runs of one kind."""
    agents, limits = loaded.study.agents, loaded.study.agents.limits
    system = sum(len(texts[name]) for name in (case.prompt, case.agent, RULES)) // 4
    first = system + TOOL_TOKENS + (_overview(loaded) if case.agent == "lens" else 0)
    answers = 2 * case.interactions * agents.asked.max_new_tokens
    turns = turns_of(case, limits.turns)
    each = CALL_TOKENS + (LOOK_TOKENS if case.agent == "lens" else 0) + answers // turns
    # Each turn reads all that came before it again.
    read = sum(first + turn * each for turn in range(turns))
    written = turns * (THOUGHT_TOKENS + CALL_TOKENS)
    # At most: all turns that there are, each of them as long as all that may be written and shown.
    longest = limits.output_tokens + settings_of(agent).max_tokens
    worst = limits.turns * (4 * (first + answers) + longest)
    price = _price(loaded, agent)
    return ["investigate", agent.model, n * turns, n * read, n * written,
            None if price is None else n * price.of(read, written),
            None if price is None else n * price.of(worst, longest)]  # fmt: skip


def _overview(loaded: LoadedStudy) -> int:
    """About how many tokens an overview has."""
    study = loaded.study
    corpus = study.corpora[0]
    places = len(loaded.layers(corpus)) * len(loaded.positions(corpus))
    lists = 2 * places * len([one for one in study.lenses.readers if reader(one).axes])
    return lists * study.agents.tokens * ENTRY_TOKENS + STEERED_TOKENS * 20 * len(
        study.steering.positions
    )


def _grading(
    loaded: LoadedStudy, cases: list[Case], rubrics: Mapping[str, str]
) -> Iterator[list[object]]:
    study = loaded.study
    counted = Counter(one.organism for one in cases)
    for grader in study.judges.graders:
        if grader.name not in study.agents.graders:
            continue
        price = _price(loaded, grader)
        for organism, n in counted.items():
            text = "word " * HYPOTHESIS_TOKENS
            about = loaded.organisms[organism]
            asked = hypotheses.question(text, about, grader, rubrics, seed=0, repeat=0)
            read = usual_tokens(asked)
            written = min(THOUGHT_TOKENS + CALL_TOKENS, settings_of(grader).max_tokens)
            calls = n * study.judges.repeats
            yield ["grade_hypotheses", grader.model, calls, calls * read, calls * written,
                   None if price is None else calls * price.of(read, written),
                   None if price is None else calls * price.most(asked)]  # fmt: skip


def _price(loaded: LoadedStudy, model: Grader) -> Price | None:
    known = loaded.prices.models.get(model.model)
    return None if known is None else Price(known.input, known.output)
