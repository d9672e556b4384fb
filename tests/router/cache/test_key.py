"""A key is the same for the same question of the same caller to the same models, and only then."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import tier
from tiergarten_router import wire
from tiergarten_router.cache.key import KEY_BYTES, Keys, fingerprint
from tiergarten_router.core import query as queries
from tiergarten_router.core import routes
from tiergarten_router.core.routes import Route
from tiergarten_router.core.snapshot import Snapshot

KEYS = Keys(b"secret")
ROUTE = b"route"


def chat(**fields):
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]} | fields
    return queries.chat("id", msgspec.convert(body, wire.ChatBody))


def compiled(*tiers, model="auto"):
    found = routes.compile_routes(Snapshot(tiers)).find(model)
    assert found is not None
    return found


texts = st.text(max_size=20)
callers = st.binary(max_size=20)
asked = st.builds(
    lambda text, limit, temperature: chat(
        messages=[{"role": "user", "content": text}],
        max_tokens=limit,
        temperature=temperature,
    ),
    texts,
    st.none() | st.integers(1, 100),
    st.none() | st.sampled_from([0.0, 0.5]),
)


@given(asked, asked)
def test_two_queries_have_one_key_only_if_nothing_tells_them_apart(one, other):
    same = one.payload("") == other.payload("")

    assert (KEYS.of(one, ROUTE) == KEYS.of(other, ROUTE)) is same
    assert len(KEYS.of(one, ROUTE)) == KEY_BYTES


@given(asked, callers, callers)
def test_two_callers_never_share_a_key(query, caller, other):
    keys = {KEYS.of(query, ROUTE, name) for name in (caller, other)}

    assert len(keys) == len({caller, other})


@given(asked, st.binary(max_size=20), st.binary(max_size=20))
def test_secret_and_route_are_in_the_key(query, one, other):
    assert (Keys(one).of(query, ROUTE) == Keys(other).of(query, ROUTE)) is (one == other)
    assert (KEYS.of(query, one) == KEYS.of(query, other)) is (one == other)


def test_no_two_joins_of_parts_are_the_same():
    query = chat()

    assert KEYS.of(query, b"b", b"a") != KEYS.of(query, b"ab", b"")


def test_how_an_answer_is_sent_makes_no_difference_and_where_it_is_asked_does():
    whole, streamed = chat(), chat(stream=True, stream_options={"include_usage": True})
    prompt = queries.completion("id", wire.CompletionBody(model="auto", prompt="hi"))
    vectors = queries.embeddings("id", wire.EmbeddingsBody(model="auto", input="hi"))

    assert KEYS.of(whole, ROUTE) == KEYS.of(streamed, ROUTE)
    assert KEYS.of(whole, ROUTE) == KEYS.of(chat(model="q2"), ROUTE)  # the route stands for it
    assert len({KEYS.of(query, ROUTE) for query in (whole, prompt, vectors)}) == 3


def test_the_two_secrets_say_nothing_of_each_other():
    assert KEYS.sealing not in {b"secret", Keys(b"other").sealing}
    assert len(KEYS.sealing) == 32


def test_a_fingerprint_holds_while_only_replicas_come_and_go():
    before = compiled(tier("q2", "http://a", digest="d"), tier("q3", digest="e"))
    after = compiled(tier("q2", "http://b", "http://c", digest="d"), tier("q3", digest="e"))

    assert before is not after
    assert fingerprint(before) == fingerprint(after)


@pytest.mark.parametrize(
    "change",
    [
        lambda route: replace(route, generation=2),
        lambda route: replace(route, model="other"),
        lambda route: replace(route, name="other"),
        lambda route: replace(route, tiers=route.tiers[:1]),
        lambda route: replace(route, strategy=routes.Strategy.ORDERED),
        lambda route: with_first(route, max_difficulty=1),
        lambda route: with_first(route, reserved_for=frozenset({"vision"})),
        lambda route: with_first(route, tier=replace(route.tiers[0].tier, digest="other")),
        lambda route: with_first(route, tier=replace(route.tiers[0].tier, model="other")),
        lambda route: with_first(route, tier=replace(route.tiers[0].tier, name="other")),
    ],
)
def test_another_generation_model_or_order_is_another_fingerprint(change):
    route = compiled(tier("q2", digest="d"), tier("q3", digest="e"))

    assert fingerprint(change(route)) != fingerprint(route)


def with_first(route: Route, **fields) -> Route:
    return replace(route, tiers=(replace(route.tiers[0], **fields), *route.tiers[1:]))
