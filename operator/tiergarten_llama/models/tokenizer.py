"""A byte-level BPE tokenizer that learns from a few pages and reads any bytes.

It is GPT-2's, which llama.cpp knows as `gpt-2`; here only for text in ASCII, as answers are.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
"""Tokens that steer and are never written out."""
TOOLS: Final = ("<tool_call>", "</tool_call>")
"""Tokens that llama.cpp's parser of tool calls looks for, so they are written out."""

_WORDS: Final = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
)
_MARKERS: Final = re.compile("(" + "|".join(map(re.escape, (*SPECIAL, *TOOLS))) + ")")
_UNRANKED: Final = 1 << 30

Pair = tuple[str, str]


def _letters() -> list[str]:
    """Return GPT-2's printable character for each byte."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


LETTERS: Final = _letters()


class Tokenizer:
    """Tokens and merges learnt from a text.

    Args:
        text: What to learn from; each of its words becomes one token if merges suffice.
        merges: Most merges to learn.

    Attributes:
        merges: Pairs that are merged, most frequent first.
        tokens: All tokens: bytes, merges, then the special ones from `first_special` on.
        id: Number of each token.
    """

    def __init__(self, text: str, merges: int) -> None:
        self.merges = _learn(Counter(_WORDS.findall(text)), merges)
        self.tokens = LETTERS + [left + right for left, right in self.merges]
        self.first_special = len(self.tokens)
        self.tokens += [*SPECIAL, *TOOLS]
        self.id = {token: number for number, token in enumerate(self.tokens)}
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens."""
        return [self.id[token] for part in _MARKERS.split(text) for token in self._part(part)]

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of tokens; bytes that are no UTF-8 are replaced."""
        letters = "".join(self.tokens[number] for number in numbers)
        return bytes(map(LETTERS.index, letters)).decode(errors="replace")

    def _part(self, part: str) -> Iterator[str]:
        if part in SPECIAL or part in TOOLS:
            yield part
            return
        for word in _WORDS.findall(part):
            yield from self._word(_spelt(word))

    def _word(self, pieces: list[str]) -> list[str]:
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self._rank.get(pair, _UNRANKED))
            if best not in self._rank:
                break
            pieces = _merged(pieces, best)
        return pieces


def _spelt(word: str) -> list[str]:
    return [LETTERS[byte] for byte in word.encode()]


def _learn(words: Counter[str], limit: int) -> list[Pair]:
    """Return the most frequent pairs, merged one after the other."""
    spellings = {word: _spelt(word) for word in words}
    counts: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[str]] = defaultdict(set)  # words that a merge changes

    def count(word: str, sign: int) -> None:
        for pair in pairwise(spellings[word]):
            counts[pair] += sign * words[word]
            holders[pair].add(word)

    for word in words:
        count(word, 1)
    merges: list[Pair] = []
    while len(merges) < limit:
        best = _most_frequent(counts.items())
        if best is None:
            break
        merges.append(best)
        for word in holders.pop(best):
            count(word, -1)
            spellings[word] = _merged(spellings[word], best)
            count(word, 1)
        del counts[best]
    return merges


def _most_frequent(counts: Iterable[tuple[Pair, int]]) -> Pair | None:
    """Return the most frequent pair, the first in the alphabet of those that are equal."""
    found = min(counts, key=lambda item: (-item[1], item[0]), default=None)
    return found[0] if found and found[1] > 0 else None


def _merged(pieces: list[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
