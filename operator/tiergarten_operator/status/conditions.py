"""Conditions, and when they change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tiergarten_api.v1alpha1 import Condition

MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition before it has its time.

    Attributes:
        type: What was observed.
        holds: Whether it does; None if that cannot be told.
        reason: One word for programs.
        message: A sentence for people.
    """

    type: str
    holds: bool | None
    reason: str
    message: str

    @property
    def status(self) -> Literal["True", "False", "Unknown"]:
        """As Kubernetes writes it."""
        if self.holds is None:
            return "Unknown"
        return "True" if self.holds else "False"


def timed(
    verdicts: Iterable[Verdict], before: Sequence[Condition], generation: int | None, now: str
) -> tuple[Condition, ...]:
    """Return conditions; the time of one moves only when its status does.

    Args:
        verdicts: What was observed.
        before: The conditions as they were.
        generation: Of the object that was observed.
        now: The time, as RFC 3339.
    """
    known = {it.type: it for it in before}
    return tuple(_timed(it, known.get(it.type), generation, now) for it in verdicts)


def flipped(after: Iterable[Condition], before: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return the conditions whose status or reason is another one than before."""
    known = {it.type: (it.status, it.reason) for it in before}
    return tuple(it for it in after if known.get(it.type) != (it.status, it.reason))


def _timed(
    verdict: Verdict, before: Condition | None, generation: int | None, now: str
) -> Condition:
    same = before is not None and before.status == verdict.status
    return Condition(
        type=verdict.type,
        status=verdict.status,
        reason=verdict.reason,
        message=_cut(verdict.message),
        observed_generation=generation,
        last_transition_time=before.last_transition_time if same and before else now,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH else f"{text[: MESSAGE_LENGTH - 1]}…"
