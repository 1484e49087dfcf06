"""
What an interval allows to be said: the closed vocabulary of verdicts, and the one rule behind them.

An interval that holds 0 does not show that there is nothing: with few seeds it may hold everything.
That something is absent is said only where the interval leaves out every gap that would matter.
"""

from typing import Protocol

NOT_SHOWN, UNDECIDED = "not shown", "undecided"
READABLE, NOT_READABLE = "readable", "not readable"
STEERS, DOES_NOT_STEER = "steers", "does not steer"
RAISES, LOWERS = "raises", "lowers"
ABOVE, BELOW = "above the control", "below the control"
VERDICTS = (
    *(READABLE, NOT_READABLE, STEERS, DOES_NOT_STEER, RAISES, LOWERS, ABOVE, BELOW),
    *(NOT_SHOWN, UNDECIDED),
)

# The smallest gap in relevance that would matter, as a share of the graded tokens: two of the
# twenty that the judge is shown. Who reads two lists cannot tell them apart by one word. It is a
# constant and no key of a study, for a bound chosen after the interval was seen decides nothing.
EQUIVALENCE_BOUND = 0.10

# Below it, that chance alone ranked the secrets so high is not believed.
SMALL_P = 0.05


class Gap(Protocol):
    """A mean difference: the ends of its interval, NaN without one, and of how many it is."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...


def of_gap(gap: Gap, *, yes: str, no: str, bound: float = 0.0) -> str:
    """
    The verdict of the gap to the strongest control, paired by seed or over organisms.

    yes, no : the words of VERDICTS for a gap that is there, and for one that is not
    bound   : the smallest gap that would matter, in the gap's unit; 0 where the measure has none
    returns : `yes` if the interval lies above 0, however little; else `no` if it lies below the
              bound; else not shown; undecided with fewer than two pairs
    """
    if gap.n < 2:
        return UNDECIDED
    if gap.low > 0:
        return yes
    return no if gap.high < bound else NOT_SHOWN
