"""How difficult a query is, as a number with reasons: a prior that costs microseconds.

Points for length, for words of a few kinds, for figures and clauses, each with a reason that people
can check and argue with. The weights are round numbers set by hand, with a look at public graded
answers. Without graded answers of the tiers themselves no such number is much better than chance.

What should count is not how hard a query is but how much a stronger tier gains on it. The two part
in formal notation: contest problems in LaTeX defeat the strong model along with the weak one.
"""

import string
from math import log2
from typing import Final

from msgspec import Struct

HEAD, TAIL = 3000, 1000  # characters that are looked at; what is asked stands first or last
BACKGROUND: Final = "### Task:"  # how chat UIs begin calls for titles and tags

POINTS: Final = {  # for the first sign of a kind; a second adds a little, a third nothing
    "analysis": 27,
    "comparison": 27,
    "design": 20,
    "code": 21,
    "math": 17,
    "explanation": 17,
    "multi-step": 10,
    "constraints": 6,
}
_SECOND: Final = 0.3  # who says both "analyze" and "evaluate" does not want twice as much
_WORDS_OF: Final = {
    "analysis": "analyze analyse analyzing analysing analysis evaluate assess critique criticize "
    "justify argue interpret implications hypothesis rationale critically examine investigate",
    "comparison": "compare comparing comparison contrast versus vs trade-off trade-offs tradeoff "
    "tradeoffs differ difference differences pros advantages disadvantages drawbacks alternatives",
    "design": "design architect strategy roadmap optimize optimise plan propose implement build "
    "develop migrate scalable",
    "code": "code python javascript typescript golang sql regex algorithm algorithms function "
    "refactor refactoring debug debugging compile compiler bash html css api json yaml kubernetes "
    "docker recursive recursion hash array stacktrace traceback def",
    "math": "calculate compute solve prove proof derive derivative integral equation equations "
    "theorem lemma probability matrix polynomial determine eigenvalue maximum minimum",
    "multi-step": "step steps step-by-step then finally afterwards",
    "explanation": "explain explaining elaborate describe discuss",
    "constraints": "must ensure constraint constraints exactly without unless assume suppose",
}
_MARKS: Final = ((b"```", "code"), (b"\n2", "multi-step"))
_QUESTIONS: Final = 3  # so many question marks are several steps
_EASY: Final = (
    *(b" what is ", b" what are ", b" what's ", b" who ", b" when ", b" where ", b" which "),
    *(b" is ", b" are ", b" how old ", b" define ", b" translate ", b" spell ", b" name "),
    *(b" list ", b" hello ", b" hi ", b" hey ", b" thanks ", b" thank ", b" good "),
)
_OPTIONS: Final = ((b"\nA.", b"\nB."), (b"\nA)", b"\nB)"), (b"(A)", b"(B)"))

_EMPTY_BYTES: Final = 12  # up to here length says nothing
_SHORT_BYTES: Final = 80
_LONG_BYTES: Final = 300
_POINTS_A_DOUBLING: Final = 8.0
_EASE: Final = 8.0  # of a short question without any sign of difficulty
_NON_LATIN: Final = 11.5  # small and coarse tiers have seen less of other scripts
_NOTATION: Final = 35.0  # taken off for a text that is all notation
_NOTATION_BYTES: Final = 12  # of a text that one `$` or `\` stands for
_NOTATION_SIGNS: Final = 4  # from here figures are part of the notation
_FIGURE, _FIGURES, _FIGURES_MOST = 1.7, 3, 8  # points for one; how many are a reason, and count
_CLAUSE, _CLAUSES, _CLAUSES_MOST = 1.2, 4, 8

_ASCII: Final = 128
_KEPT: Final = (string.ascii_lowercase + string.digits + "'-").encode()
_DIGITS: Final = string.digits.encode()
_IN_FIGURES: Final = b".,"  # dropped, so that 1,000.5 is one figure
_HIGH: Final = bytes(range(_ASCII, 256))
_AS_WORDS: Final = bytes(  # in lower case; all else parts words, so "improve" holds no "prove"
    byte if byte in _KEPT else ord(" ") for byte in bytes(range(256)).lower()
)
_AS_FIGURES: Final = bytes(byte if byte in _DIGITS else ord(" ") for byte in range(256))
_KIND_OF: Final = {
    word.encode(): kind for kind, words in _WORDS_OF.items() for word in words.split()
}
_KNOWN: Final = frozenset(_KIND_OF)


class Rated(Struct, frozen=True):
    """A score from 0 to 100 and the words that say what it comes from."""

    score: int
    reasons: tuple[str, ...] = ()


_RATED_BACKGROUND: Final = Rated(0, ("background",))


def rate(text: str, *, background: bool = False) -> Rated:
    """Return the difficulty of what a user asks.

    Args:
        text: The last thing that the user said.
        background: Whether a chat UI asks for itself; such calls are easy by nature.
    """
    if background or text.startswith(BACKGROUND):
        return _RATED_BACKGROUND
    points, reasons = _weighed(text)
    return Rated(min(100, max(0, round(points))), tuple(reasons))


def difficulty(text: str) -> float:
    """Return the difficulty of a text before it is rounded and cut to 0 to 100."""
    return 0.0 if text.startswith(BACKGROUND) else _weighed(text)[0]


def _weighed(text: str) -> tuple[float, list[str]]:
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    raw = _asked(text.encode(errors="replace"))
    words = b" %b " % raw.translate(_AS_WORDS)
    points, reasons = _of_form(raw)
    signs = _signs(raw, words)
    if signs:
        for kind, most in POINTS.items():
            seen = signs.count(kind)
            if seen:
                points += most if seen == 1 else most * (1 + _SECOND)
                reasons.append(kind)
    elif len(raw) <= _SHORT_BYTES and words.startswith(_EASY):
        points -= _EASE
        reasons.append("short-question")
    return points, reasons


def _asked(raw: bytes) -> bytes:
    """Return the text without the options of a multiple-choice question: they are not asked."""
    if b"A" not in raw:  # one byte is found ten times as fast as two
        return raw
    for first, second in _OPTIONS:
        begin = raw.find(first)
        if begin > 0 and second in raw:
            return raw[:begin]
    return raw


def _signs(raw: bytes, words: bytes) -> list[str]:
    """Return the kind of each different word and mark that tells of difficulty."""
    signs = [_KIND_OF[word] for word in _KNOWN.intersection(words.split())]
    for mark, kind in _MARKS:
        if mark[:1] in raw and mark in raw:  # one byte is found ten times as fast as two
            signs.append(kind)
    if raw.count(b"?") >= _QUESTIONS:
        signs.append("multi-step")
    return signs


def _of_form(raw: bytes) -> tuple[float, list[str]]:
    """Return the points for length, script, figures and clauses."""
    size, reasons = len(raw), []
    points = _POINTS_A_DOUBLING * log2(size / _EMPTY_BYTES) if size > _EMPTY_BYTES else 0.0
    if size >= _LONG_BYTES:
        reasons.append("length")
    if not raw.isascii() and 2 * len(raw.translate(None, _HIGH)) < size:
        points += _NON_LATIN
        reasons.append("non-latin")
    notation = raw.count(b"$") + raw.count(b"\\")
    if notation:
        points -= _NOTATION * min(1.0, _NOTATION_BYTES * notation / size)
    if notation < _NOTATION_SIGNS:
        figures = len(raw.translate(_AS_FIGURES, _IN_FIGURES).split())
        points += _FIGURE * min(_FIGURES_MOST, figures)
        if figures >= _FIGURES:
            reasons.append("figures")
    clauses = raw.count(b",")
    points += _CLAUSE * min(_CLAUSES_MOST, clauses)
    if clauses >= _CLAUSES:
        reasons.append("clauses")
    return points, reasons
