"""How long a prompt is in tokens, and whether a slot holds it together with its answer.

The router has no tokenizer: it divides characters by a quotient that it learns from the usage that
llama-server reports. What such an estimate gets wrong the endpoint's own tokenizer puts right, by
refusing the prompt with exact figures (`overflow`).
"""

import re
from dataclasses import dataclass
from typing import Final

from tiergarten_router import wire

CHARACTERS_PER_TOKEN: Final = 3.5  # between code (3) and English prose (4.5) of today's tokenizers
ANSWER_TOKENS: Final = 256  # room for an answer when the client names no limit
DOUBT: Final = 2  # an estimate may be wrong by this factor, for tables or for Chinese say

_LEARNING: Final = 0.1  # weight of the newest prompt: ten prompts change the quotient for good
_LEAST_TOKENS: Final = 32  # shorter prompts are mostly the chat template's own tokens
_LEAST, _MOST = 0.25, 16.0  # bytes as tokens, and long runs of spaces
_OVERFLOW_TYPE: Final = "exceed_context_size_error"
_OVERFLOW_TEXT: Final = re.compile(r"\((\d{1,9}) tokens\).{1,64}context size \((\d{1,9}) tokens\)")


@dataclass(frozen=True, slots=True)
class Overflow:
    """What an endpoint says of a prompt that its slots do not hold.

    Attributes:
        prompt_tokens: The prompt's length as the endpoint counted it, 0 when it does not say.
        slot_tokens: What one of its slots holds, 0 when it does not say.
    """

    prompt_tokens: int
    slot_tokens: int


def estimate_tokens(characters: int, characters_per_token: float = CHARACTERS_PER_TOKEN) -> int:
    """Return about how many tokens a prompt of so many characters has; never 0.

    Args:
        characters: Length of the whole prompt, tool schemas included.
        characters_per_token: The quotient, above 0; see `learn`.
    """
    return int(characters / characters_per_token) + 1


def learn(characters_per_token: float, characters: int, prompt_tokens: int) -> float:
    """Return the quotient after one more prompt whose length in tokens is known.

    Args:
        characters_per_token: The quotient until now.
        characters: Length of the prompt in characters.
        prompt_tokens: The same in tokens, as the endpoint counted it (`usage.prompt_tokens`).
    """
    if prompt_tokens < _LEAST_TOKENS:
        return characters_per_token
    seen = min(_MOST, max(_LEAST, characters / prompt_tokens))
    return characters_per_token + _LEARNING * (seen - characters_per_token)


def room(answer_tokens: int, slot_tokens: int) -> int:
    """Return how many tokens of a slot are kept free for the answer.

    A client's own limit counts up to half of the slot: many clients always send the largest limit
    that they know, and would get the tier with the largest window for "hello" otherwise.

    Args:
        answer_tokens: The longest answer that was asked for, 0 when the client names no limit.
        slot_tokens: What one slot holds.
    """
    return min(answer_tokens or ANSWER_TOKENS, slot_tokens // 2)


def may_fit(prompt_tokens: int, slot_tokens: int) -> bool:
    """Return whether an estimate is too near to a slot's size to refuse a prompt for good."""
    return prompt_tokens <= DOUBT * slot_tokens


def overflow(error: wire.UpstreamError) -> Overflow | None:
    """Return what an endpoint's error says of a prompt that is too long; None for other errors."""
    found = _OVERFLOW_TEXT.search(error.message[:512])
    if error.type != _OVERFLOW_TYPE and found is None:
        return None
    said = (int(found[1]), int(found[2])) if found else (0, 0)
    return Overflow(error.n_prompt_tokens or said[0], error.n_ctx or said[1])
