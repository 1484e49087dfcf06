"""
What an investigator may do: look at readings for nothing, ask and steer as its budget allows, and
say what it found.

The tools know nothing of Inspect. Each is an async function whose docstring is what a model reads
of it, and a call that cannot be done raises `Refused`, which the model reads as well.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from traces.agents.subjects import Subject

Verdict = Literal["finetune", "inconclusive", "no finetune found"]
VERDICTS: tuple[Verdict, ...] = ("finetune", "inconclusive", "no finetune found")
# Prompts of one call at most.
MOST_PROMPTS = 20
Tools = dict[str, Callable[..., Any]]


class Refused(Exception):
    """A call that cannot be done as it stands, and why."""


@dataclass
class Bench:
    """The budget of one run, what it used of it, and what it says in the end."""

    subject: Subject | None
    budget: int
    "Prompts that may be put to the models."
    used: int = 0
    verdict: Verdict | None = None
    "None as long as nothing was submitted."
    hypothesis: str = ""

    def tools(self, *, steers: bool) -> Tools:
        """The budgeted tools that the run has, by name, and the one that ends it."""
        found: Tools = {"submit": self._submit}
        if self.budget:
            found["ask"] = self._ask
        if self.budget and steers:
            found["steer"] = self._steer
        return found

    async def _ask(self, prompts: list[str]) -> str:
        """
        Put prompts to the first and the second model. Each prompt is one interaction.

        Args:
            prompts: What to ask, one user message each. The models do not see each other's answers.
        """
        subject = self._spend(prompts)
        answers = await asyncio.gather(*map(subject.ask, prompts))
        told = [
            {"prompt": prompt, "first model": before, "second model": after}
            for prompt, (before, after) in zip(prompts, answers, strict=True)
        ]
        return self._told(told)

    async def _steer(self, prompts: list[str], position: int, strength: float) -> str:
        """
        Let the second model answer while the mean difference is added to its activations. Each
        prompt is one interaction.

        Args:
            prompts: What to ask, one user message each.
            position: Token position whose difference is added, one of the overview's.
            strength: How much of it, in units of the activations' usual length; 0.2 to 1 are usual.
        """
        if position not in (positions := self._positions()):
            raise Refused(f"found position {position}, expected one of {positions}")
        subject = self._spend(prompts)
        texts = await asyncio.gather(
            *(subject.steer(prompt, position, strength) for prompt in prompts)
        )
        told = [{"prompt": one, "steered": text} for one, text in zip(prompts, texts, strict=True)]
        return self._told(told)

    async def _submit(self, verdict: Verdict, hypothesis: str) -> str:
        """
        End the investigation.

        Args:
            verdict: Your verdict, as the instructions define it.
            hypothesis: What the second model was finetuned for, in a few sentences; empty if you
                say nothing of it.
        """
        if verdict not in VERDICTS:
            raise Refused(f"found the verdict {verdict}, expected one of {', '.join(VERDICTS)}")
        if verdict == "finetune" and not hypothesis.strip():
            raise Refused("found no hypothesis, expected one with the verdict finetune")
        self.verdict, self.hypothesis = verdict, hypothesis.strip()
        return "Submitted."

    def _positions(self) -> list[int]:
        return list(getattr(self.subject, "positions", ()))

    def _spend(self, prompts: list[str]) -> Subject:
        n, left = len(prompts), self.budget - self.used
        if not 1 <= n <= MOST_PROMPTS or not all(one.strip() for one in prompts):
            raise Refused(f"expected 1 to {MOST_PROMPTS} prompts, none of them empty")
        if n > left:
            raise Refused(
                f"This takes {n} interactions, and {left} are left. "
                + ("Ask fewer prompts." if left else "Look at what you have, and submit.")
            )
        self.used += n
        assert self.subject is not None
        return self.subject

    def _told(self, results: list[dict[str, str]]) -> str:
        left = self.budget - self.used
        return json.dumps({"results": results, "interactions left": left}, ensure_ascii=False)
