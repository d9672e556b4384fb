"""Shows the demo's tour to people: a table, a verdict, and what to try next."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from tiergarten_router.cli.queries import CHAT, QUERY
from tiergarten_router.cli.tour import Result

SHOWN: Final = 68  # characters of a question or an answer, on two lines
_COLUMNS: Final[tuple[tuple[str, JustifyMethod, int | None], ...]] = (
    ("query", "left", 36),
    ("tier", "left", 12),
    ("score", "right", None),
    ("reasons", "left", 15),
    ("first ms", "right", None),
    ("total ms", "right", None),
    ("tokens/s", "right", None),
    ("answer", "left", 36),
    ("expected", "left", 20),
    ("", "left", None),
)


def table(results: Sequence[Result]) -> Table:
    """Return the tour as a table, a step a line."""
    shown = Table(title="What was asked, and what became of it", box=box.SIMPLE_HEAD)
    for heading, justify, widest in _COLUMNS:
        shown.add_column(heading, justify=justify, max_width=widest)
    for result in results:
        shown.add_row(*_cells(result))
    return shown


def _cells(result: Result) -> list[Text]:
    seen, step = result.seen, result.step
    by = " + ".join(result.replicas) if len(result.replicas) > 1 else seen.tier
    by += " by cache" if seen.cache == "hit" else ""
    words = (
        " after ".join((by, *seen.fallbacks)) or str(seen.status),
        seen.score,
        seen.reasons,
        _number(seen.first_ms),
        _number(seen.total_ms or None),
        _number(seen.speed),
        short(seen.answer),
        step.expected,
    )
    verdict = Text("NO", "bold red") if result.failures else Text("ok", "green")
    before = f"({len(step.context):,} characters) " if step.context else ""
    query = Text.assemble((step.title, "bold"), "\n", (short(before + step.text), "dim"))
    return [query, *map(Text, words), verdict]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def short(text: str) -> str:
    """Return a text as it fits a table."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."


def verdict(results: Sequence[Result], seconds: float) -> Text:
    """Return in a line whether all went as expected; what did not has lines of its own.

    Args:
        results: The whole tour.
        seconds: How long it took.
    """
    failed = [result for result in results if result.failures]
    lines = [f"  {result.step.title}: {'; '.join(result.failures)}" for result in failed]
    if failed:
        head = f"FAILED: {len(failed)} of {len(results)} steps went otherwise than expected:"
        return Text("\n".join((head, *lines)), "red")
    return Text(f"PASSED: all {len(results)} steps went as expected, in {seconds:.1f} s.", "green")


def next_steps(url: str) -> str:
    """Return what to try next."""
    chat = '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    return f"""Try next:
  curl {url}{QUERY} -d '{{"query": "Tell me about the cache"}}'
  curl -N {url}{CHAT} -d '{chat}'
  curl {url}/v1/tiers
  open {url}/docs in a browser"""
