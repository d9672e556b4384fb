"""A network whose weights are constructed, not trained: it says what a script says.

One transformer block. Its hidden state is a row of registers:

    NOW | BEFORE | BEFORE2 | OUT | CONSTANT, PAD, KEYWORD | own topic ... | topic ...

- Every token is a code of its own, a unit vector; codes are nearly at right angles. The embedding
  puts it into NOW, and a keyword's topic into "own topic".
- Attention heads 0 and 1 look at exactly the token 1 and 2 places back and copy its code to BEFORE
  and BEFORE2: queries and keys are constants, and the rotary encoding does the counting.
- Head 2 looks at the latest keyword and copies its topic to "topic".
- Each hidden unit of the feed-forward layer is one rule (see `contexts`): on only if its context is
  there, it adds the codes of the tokens that may follow to OUT, which the last layer reads.

It works at 12,000 tokens of context, with a quantised KV cache and after quantisation to Q2_K.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np

from tiergarten_llama.models import contexts
from tiergarten_llama.models.contexts import ANY, Rule, Script
from tiergarten_llama.models.text import Topic, corpus, forms
from tiergarten_llama.models.tokenizer import Tokenizer
from tiergarten_llama.models.writer import Matrix, Network

MERGES: Final = 2400  # with bytes and special tokens below PRIME**2, the number of codes
WIDTH: Final = 512
HEADS: Final = 4
HEAD: Final = WIDTH // HEADS
PAIRS: Final = HEAD // 2  # the rotary encoding turns values in pairs
ROPE_BASE: Final = 1e6  # so that the slowest pair hardly turns in 64k tokens
HIDDEN_STEP: Final = 256  # rows of K-quants

PRIME: Final = 53
CODE: Final = 2 * PRIME
NOW, BEFORE, BEFORE2, OUT = (CODE * place for place in range(4))
CONSTANT, PAD, KEYWORD, OWN_TOPIC = (4 * CODE + place for place in range(4))
MAX_TOPICS: Final = (WIDTH - OWN_TOPIC) // 2
SLOWEST_COUNTER: Final = 2e-3  # slower pairs tell two neighbours apart too little

EMBEDDING_SQUARE: Final = 4.0  # squared length of every embedding, so that its norm is known
GATE: Final = 60.0  # how steeply a unit opens


def script(name: str, topics: Sequence[Topic]) -> Network:
    """Return a network that answers as the model of a name.

    Args:
        name: What it calls itself.
        topics: What it knows; the first one is the answer to everything else.

    Raises:
        ValueError: There are too many topics, or an answer cannot be told from another one.
    """
    if len(topics) > MAX_TOPICS:
        raise ValueError(f"{len(topics)} topics are more than {MAX_TOPICS}")
    answers = [topic.answer.format(name=name) for topic in topics]
    tokenizer = Tokenizer(corpus() + "\n".join(answers * 4), MERGES)
    codes = _codes(len(tokenizer.tokens))
    text = _script(tokenizer, topics, answers, name)
    rules = contexts.rules(text)
    if slip := contexts.slip(text, rules):
        topic, place = slip
        said = tokenizer.decode(text.answers[topic][:place])
        raise ValueError(f"name {name!r}: another answer goes on after {said!r}; reword one")
    attention = _attention(len(topics))
    feed_forward = _feed_forward(rules, codes, OWN_TOPIC + len(topics))
    output = np.zeros((len(codes), WIDTH), np.float32)
    output[:, OUT : OUT + CODE] = codes * 14.0 * np.sqrt(8.0 / WIDTH)
    flat = np.ones(WIDTH, np.float32)
    tensors = {
        "token_embd.weight": _embedding(text, codes),
        "blk.0.attn_norm.weight": flat * np.float32(np.sqrt(EMBEDDING_SQUARE / WIDTH)),
        **{f"blk.0.attn_{tensor}.weight": values for tensor, values in attention.items()},
        # After attention come BEFORE, BEFORE2 and a topic, each of length 1.
        "blk.0.ffn_norm.weight": flat * np.float32(np.sqrt((EMBEDDING_SQUARE + 3) / WIDTH)),
        **{f"blk.0.ffn_{tensor}": values for tensor, values in feed_forward.items()},
        "output_norm.weight": flat,
        "output.weight": output,
    }
    return Network(
        tokenizer=tokenizer,
        width=WIDTH,
        layers=1,
        hidden=len(feed_forward["gate.weight"]),
        heads=HEADS,
        heads_kv=HEADS,
        rope_base=ROPE_BASE,
        tensors=tensors,
        exact=frozenset({"blk.0.attn_q.weight", "blk.0.attn_k.weight"}),
    )


def _script(
    tokenizer: Tokenizer, topics: Sequence[Topic], answers: Sequence[str], name: str
) -> Script:
    end = tokenizer.id["<|im_end|>"]
    own_name = {*tokenizer.encode(name), *tokenizer.encode(f" {name}")}
    topic_of: dict[int, int] = {}
    for number, topic in enumerate(topics):
        for keyword, space in product(topic.keywords, ("", " ")):
            for form in forms(keyword):
                tokens = tokenizer.encode(space + form)
                # A model called "gpu" must not change the topic whenever it says its name.
                if len(tokens) == 1 and tokens[0] not in own_name:
                    topic_of[tokens[0]] = number
    return Script(
        opening=tokenizer.encode("<|im_start|>assistant\n"),
        answers=[[*tokenizer.encode(answer), end] for answer in answers],
        topic_of=topic_of,
        first_words=[tokenizer.encode(f" {word}")[0] for word in ("the", "a", "it", "this")],
        words=tokenizer.first_special,
    )


def _codes(count: int) -> Matrix:
    """Return unit vectors whose inner products are at most 1/sqrt(PRIME): quadratic chirps."""
    number, place = np.arange(count)[:, None], np.arange(PRIME)
    phase = ((1 + number // PRIME) * place**2 + number % PRIME * place) % PRIME
    wave = np.exp(2j * np.pi * phase / PRIME)
    codes: Matrix = (np.hstack([wave.real, wave.imag]) / np.sqrt(PRIME)).astype(np.float32)
    return codes


def _embedding(text: Script, codes: Matrix) -> Matrix:
    embedding = np.zeros((len(codes), WIDTH), np.float32)
    embedding[:, NOW : NOW + CODE] = codes
    embedding[:, CONSTANT] = 1
    embedding[:, OWN_TOPIC] = 1  # topic 0: none
    for token, topic in text.topic_of.items():
        embedding[token, KEYWORD] = 1
        embedding[token, OWN_TOPIC] = 0
        embedding[token, OWN_TOPIC + topic] = 1
    square = (embedding**2).sum(1)
    embedding[:, PAD] = np.sqrt(np.maximum(EMBEDDING_SQUARE - square, 0))
    return embedding


def _attention(topics: int) -> dict[str, Matrix]:
    """Return query, key, value and output weights."""
    q, k, v, o = np.zeros((4, WIDTH, WIDTH), np.float32)
    turn = ROPE_BASE ** (-2.0 * np.arange(PAIRS) / HEAD)  # of each pair, for each token
    even = 2 * np.arange(PAIRS)
    weight = HEAD**0.25 * np.sqrt(40.0 * (turn > SLOWEST_COUNTER) * np.sqrt(np.maximum(turn, 1e-9)))
    for head, (distance, register) in enumerate(((1, BEFORE), (2, BEFORE2))):
        # The score of a token is a sum of cos((places back - distance) * turn): highest there.
        first = head * HEAD
        q[first + even, CONSTANT] = weight
        k[first + even, CONSTANT] = weight * np.cos(distance * turn)
        k[first + even + 1, CONSTANT] = weight * np.sin(distance * turn)
        for place in range(CODE):
            v[first + place, NOW + place] = 1
            o[register + place, first + place] = 1
    first = 2 * HEAD
    for period in (150.0, 1200.0, 8000.0):  # the latest keyword, at three scales
        pair = first + 2 * int(np.argmin(abs(turn - 1 / period)))
        q[pair, CONSTANT] = k[pair, CONSTANT] = np.sqrt(60.0 * np.sqrt(HEAD))
    slowest = first + 2 * (PAIRS - 1)
    q[slowest, CONSTANT] = k[slowest, KEYWORD] = np.sqrt(600.0 * np.sqrt(HEAD))
    for topic in range(topics):
        v[first + topic, OWN_TOPIC + topic] = 1
        o[OWN_TOPIC + topics + topic, first + topic] = 1
    return {"q": q, "k": k, "v": v, "output": o}


def _feed_forward(rules: Sequence[Rule], codes: Matrix, topic_at: int) -> dict[str, Matrix]:
    """Return one hidden unit for each rule.

    Args:
        rules: The rules.
        codes: Each token's code.
        topic_at: Where the conversation's topic stands in the hidden state.
    """
    hidden = -(-len(rules) // HIDDEN_STEP) * HIDDEN_STEP
    gate, up = np.zeros((2, hidden, WIDTH), np.float32)
    down = np.zeros((WIDTH, hidden), np.float32)
    bias = np.zeros(hidden, np.float32)
    for unit, rule in enumerate(rules):
        parts = 0
        for token, register in zip(rule.context, (BEFORE2, BEFORE, NOW), strict=True):
            if token != ANY:
                gate[unit, register : register + CODE] = codes[token]
                parts += 1
        if rule.topic is not None:
            gate[unit, topic_at + rule.topic] = 1
            parts += 1
        gate[unit] *= GATE
        bias[unit] = -GATE * (parts - 0.5)  # opens when all parts match, and half a part less
        up[unit, CONSTANT] = 2 / GATE
        for token, weight in rule.following.items():
            down[OUT : OUT + CODE, unit] += np.float32(weight) * codes[token]
    return {"gate.weight": gate, "gate.bias": bias, "up.weight": up, "down.weight": down}
