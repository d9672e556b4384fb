"""Progress as people and programs see it."""

import io
import json

from rich.console import Console

from tiergarten_fetch.displays import Bars, Lines, Silence
from tiergarten_fetch.results import Doing, Progress


class Clock:
    """Tells the time it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bar_shows_name_size_and_state_of_each_file():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)

    with Bars(console) as bars:
        bars.show(Progress("[red]a.gguf", 0, None, Doing.WAITING))
        bars.show(Progress("[red]a.gguf", 512, 1024, Doing.RETRYING, "answers 503"))
        bars.show(Progress("b.gguf", 1024, 1024, Doing.DONE))

    text = stream.getvalue()
    assert "[red]a.gguf" in text
    assert "0.5/1.0 KiB" in text
    assert "retrying answers 503" in text
    assert "b.gguf" in text


def test_lines_come_at_most_once_a_second_but_for_a_new_state():
    stream, clock = io.StringIO(), Clock()

    with Lines(stream, clock) as lines:
        for now, progress in [
            (0.0, Progress("a", 1, 9)),
            (0.5, Progress("a", 2, 9)),
            (1.0, Progress("a", 3, 9)),
            (1.1, Progress("a", 3, 9, Doing.RETRYING, "answers 503")),
            (1.2, Progress("a", 9, 9, Doing.DONE)),
            (1.3, Progress("b", 1, None)),
        ]:
            clock.now = now
            lines.show(progress)

    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(one["file"], one["fetched_bytes"], one["doing"]) for one in written] == [
        ("a", 1, "fetching"),
        ("a", 3, "fetching"),
        ("a", 3, "retrying"),
        ("a", 9, "done"),
        ("b", 1, "fetching"),
    ]
    assert written[2]["note"] == "answers 503"
    assert "note" not in written[0]
    assert written[4]["total_bytes"] is None


def test_silence_shows_nothing():
    with Silence() as silence:
        silence.show(Progress("a", 1, 9))
