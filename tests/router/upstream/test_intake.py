"""What an answer's bytes become: the same events and the same text, however they are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import NotReadyYet, RouterError, StreamBroken
from tiergarten_router.upstream.intake import Event, Intake

DONE = b"data: [DONE]\n\n"


def event(delta: dict[str, object], **more: object) -> bytes:
    body = {"id": "x", "choices": [{"index": 0, "delta": delta, **more}]}
    return (
        b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )


def answer(texts: list[str]) -> list[bytes]:
    first = event({"role": "assistant", "content": None})
    said = [event({"content": text}) for text in texts]
    usage = b'data: {"choices":[],"usage":{"total_tokens":5},"timings":{"cache_n":1}}\n\n'
    return [first, *said, event({}, finish_reason="stop"), usage, DONE]


def joined(events: list[Event]) -> bytes:
    return b"".join(found.raw for found in events)


def said(events: list[Event]) -> str:
    choices = [choice for found in events if found.chunk for choice in found.chunk.choices]
    return "".join(choice.delta.content or "" for choice in choices if choice.delta)


def cut(payload: bytes, sizes: list[int]) -> list[bytes]:
    parts, start = [], 0
    for size in sizes:
        parts.append(payload[start : start + size])
        start += size
    return [part for part in [*parts, payload[start:]] if part]


@given(
    st.lists(st.text(max_size=9), max_size=8),
    st.lists(st.integers(1, 300), max_size=9),
    st.integers(1, 20),
)
def test_an_answer_says_the_same_however_it_comes(
    texts: list[str], sizes: list[int], together: int
) -> None:
    events = answer(texts)
    parts = cut(b"".join(events), sizes) if sizes else events
    assembly = Assembly()
    kept, whole = Intake(), Intake(assembly)

    for start in range(0, len(parts), together):
        kept.take(parts[start : start + together])
        whole.take(parts[start : start + together])

    assert joined(kept.ahead) == b"".join(events)
    assert said(kept.ahead) == assembly.text == "".join(texts)
    for intake in (kept, whole):
        assert intake.done
        assert intake.has_content
        assert intake.usage is not None
        assert intake.timings is not None
    assert not whole.ahead


def test_neighbours_that_differ_in_their_text_alone_are_one_event() -> None:
    intake = Intake()

    intake.take(answer(["a", "b", "c", "d"]))

    assert [found.chunk is not None and said([found]) for found in intake.ahead] == [
        "", "a", "bcd", "", "", False,
    ]  # fmt: skip


def test_events_that_came_as_one_part_are_told_apart() -> None:
    first, *events = answer(["one", " two", " three"])
    intake = Intake()

    intake.take([first, events[0]])
    intake.take([b"".join(events[1:3]), *events[3:]])

    assert joined(intake.ahead) == b"".join([first, *events])
    assert said(intake.ahead) == "one two three"


def test_what_comes_before_garbage_is_kept() -> None:
    for parts in ([*answer(["a", "b"])[:3], b"data: {oops\n\n"], [b"data: {oops\n\n"]):
        intake = Intake()
        with pytest.raises(StreamBroken):
            intake.take(parts)
        assert joined(intake.ahead) == b"".join(parts[:-1])


GARBAGE = {
    "no field": b"what is this\n\n",
    "no JSON": b"data: {oops\n\n",
    "not UTF-8": b'data: {"choices":[],"x":"\xff"}\n\n',
    "deep": b'data: {"x":' + b"[" * 9999 + b"\n\n",
    "too long": b"data: " + b"x" * (1 << 20) + b"\n\n",
    "two at once": b"data: {},{}\n\n",
    "no text": event({"content": "@"}).replace(b"@", b'","'),
    "after the end": DONE + event({"content": "late"}),
}


@pytest.mark.parametrize("bad", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("assembled", [False, True])
def test_garbage_is_never_an_event(bad: bytes, *, assembled: bool) -> None:
    intake = Intake(Assembly() if assembled else None)
    intake.take(answer(["a", "b"])[:3])

    with pytest.raises(StreamBroken):
        intake.take([bad] if b"late" not in bad else [DONE, bad.removeprefix(DONE)])

    assert bad not in joined(intake.ahead)


def test_an_event_like_others_whose_text_is_more_than_text_is_decoded() -> None:
    intake, odd = Intake(), event({"content": "@"}).replace(b"@", b'x", "role": "assistant')
    intake.take([event({"content": "a"}), odd, event({"content": "b"})])

    assert said(intake.ahead) == "axb"
    assert intake.ahead[1].raw == odd


def test_an_error_is_raised_as_what_it_means() -> None:
    busy = b'data: {"error":{"code":503,"message":"Loading model"}}\n\n'
    odd = b'data: {"error":{"code":"x"}}\n\n'
    kinds: list[tuple[bytes, type[RouterError]]] = [(busy, NotReadyYet), (odd, StreamBroken)]

    for raw, kind in kinds:
        with pytest.raises(kind):
            Intake().take([raw])


def test_comments_and_the_null_of_several_prompts_say_nothing() -> None:
    intake = Intake()

    intake.take([b"data: null\n\n", b": alive\n\n", event({"content": "a"})])

    assert joined(intake.ahead) == b": alive\n\n" + event({"content": "a"})


@pytest.mark.parametrize("count", [2, 3, 5])
def test_events_that_are_alike_may_share_a_part(count: int) -> None:
    intake, alike = Intake(), [event({"content": str(number)}) for number in range(count)]

    intake.take([event({"content": "a"}), b"".join(alike), event({"content": "b"}), DONE])

    assert said(intake.ahead) == "a" + "".join(map(str, range(count))) + "b"
    assert intake.done
