"""A scripted model as rules: which token follows three others, within a topic.

`scripted` turns every rule into one hidden unit of a network. Here is what the network must do, in
a few dictionaries, and a rehearsal that finds where it would not say an answer word for word.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ANY: Final = -1
"""In a rule's context: whatever stands there."""

Context = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """What may follow a context, and how much the rule says for it.

    Attributes:
        context: The last three tokens, each a number or ANY.
        topic: The topic in which it holds, or None for every topic.
        following: Weight of each token that may follow.
    """

    context: Context
    topic: int | None
    following: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Script:
    """What a model has to say.

    Attributes:
        opening: Tokens that come before every answer.
        answers: Tokens of each topic's answer, its end included.
        topic_of: Topic of every token that is a keyword.
        first_words: Tokens that any sentence may go on with.
        words: How many tokens are words; the others are special.
    """

    opening: Sequence[int]
    answers: Sequence[Sequence[int]]
    topic_of: Mapping[int, int]
    first_words: Sequence[int]
    words: int


def rules(script: Script) -> list[Rule]:
    """Return the rules that make a model say the script's answers."""
    seen: defaultdict[Context, defaultdict[int, Counter[int]]]
    seen = defaultdict(lambda: defaultdict(Counter))
    after: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for topic, answer in enumerate(script.answers):
        for context, token in _steps(script.opening, answer):
            seen[context][topic][token] += 1
            after[context[-1]][token] += 1
    start = tuple(script.opening[-3:])
    found: list[Rule] = []
    for context, by_topic in seen.items():
        found += (_first if context == start else _within)(context, by_topic)
    return found + list(_fallbacks(script, after))


def slip(script: Script, rules: Iterable[Rule]) -> tuple[int, int] | None:
    """Return where the rules say something else than the script, or None.

    Returns:
        The topic and the place of the first wrong token in its answer.
    """
    by_context: defaultdict[Context, list[Rule]] = defaultdict(list)
    for rule in rules:
        by_context[rule.context].append(rule)
    for topic, answer in enumerate(script.answers):
        now = topic
        for place, (context, token) in enumerate(_steps(script.opening, answer)):
            if _next(by_context, context, now) != token:
                return topic, place
            now = script.topic_of.get(token, now)  # an answer's own keywords count as well
    return None


def _steps(opening: Sequence[int], answer: Sequence[int]) -> Iterator[tuple[Context, int]]:
    """Yield every token of an answer after the three before it."""
    tokens = [*opening, *answer]
    for place in range(len(opening), len(tokens)):
        yield (tokens[place - 3], tokens[place - 2], tokens[place - 1]), tokens[place]


def _first(context: Context, by_topic: Mapping[int, Counter[int]]) -> Iterator[Rule]:
    """Yield the rules of an answer's first token: the default's, which a topic outweighs."""
    yield Rule(context, None, dict.fromkeys(by_topic[0], 1.0))
    for topic, counts in by_topic.items():
        if topic:
            yield Rule(context, topic, dict.fromkeys(counts, 3.0))


def _within(context: Context, by_topic: Mapping[int, Counter[int]]) -> Iterator[Rule]:
    """Yield the rules of a context: one for all topics, and where it forks, one for each."""
    total = sum(by_topic.values(), Counter[int]())
    weights = {token: 1.0 + 0.1 * math.log(count / total.total()) for token, count in total.items()}
    yield Rule(context, None, weights)
    if len(total) > 1:
        for topic, counts in by_topic.items():
            yield Rule(context, topic, dict.fromkeys(counts, 2.0))


def _fallbacks(script: Script, after: Mapping[int, Counter[int]]) -> Iterator[Rule]:
    """Yield weak rules for contexts that no answer has, as in the middle of another text."""
    for token, counts in after.items():
        following = dict.fromkeys((nearest for nearest, _ in counts.most_common(4)), 0.35)
        yield Rule((ANY, ANY, token), None, following)
    for token in range(script.words):
        if token not in after:
            yield Rule((ANY, ANY, token), None, dict.fromkeys(script.first_words, 0.2))


def _next(by_context: Mapping[Context, Sequence[Rule]], context: Context, topic: int) -> int:
    """Return the token that the rules say for most."""
    votes: defaultdict[int, float] = defaultdict(float)
    for pattern in (context, (ANY, ANY, context[-1])):
        for rule in by_context.get(pattern, ()):
            if rule.topic in {None, topic}:
                for token, weight in rule.following.items():
                    votes[token] += weight
    return max(votes, key=lambda token: (votes[token], -token), default=ANY)
