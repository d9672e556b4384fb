"""The tree of errors is the one that its page draws."""

import re

from tiergarten_fetch import errors
from tiergarten_fetch.errors import FetchError


def tree(kind: type[FetchError]) -> set[str]:
    return {kind.__name__}.union(*(tree(child) for child in kind.__subclasses__()))


def test_every_error_is_drawn_with_its_exit_code():
    drawn = dict(re.findall(r"── (\w+)(?: +(\d+))?", errors.__doc__ or ""))

    assert set(drawn) == tree(FetchError) - {"FetchError"}
    codes = {name: getattr(errors, name).exit_code for name, code in drawn.items() if code}
    assert codes == {name: int(code) for name, code in drawn.items() if code}


def test_an_interruption_keeps_what_the_source_asked_for():
    failure = errors.Interrupted("busy", 5.0)

    assert (failure.message, failure.retry_after_seconds, failure.reason) == (
        "busy",
        5.0,
        "FetchFailed",
    )
