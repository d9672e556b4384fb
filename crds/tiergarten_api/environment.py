"""Settings of a service in its environment: what is wrong with them, in a user's words. Pure."""

import difflib
from collections.abc import Iterable
from typing import Final

from pydantic import BaseModel, ValidationError

PREFIX: Final = "TIERGARTEN_"
# No settings of a service: what a fetch is given, secrets of local tiers, a client's own token.
OTHERS: Final = tuple(PREFIX + it for it in ("FETCH_", "SECRET_", "EVENTS_TOKEN"))
PAGE: Final = "see docs/settings.md"


def refused(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Return a line for each setting that is refused: its variable, its value, why, and the cure.

    Args:
        model: The service's settings.
        error: What pydantic finds wrong; the value of a secret is not repeated.
    """
    lines = []
    for told in error.errors():
        secret = "Secret" in str(model.model_fields[str(told["loc"][0])].annotation)
        value = "" if secret else f"={told['input']}"
        name = PREFIX + "_".join(map(str, told["loc"])).upper()
        lines.append(f"{name}{value}: {told['msg']}; {PAGE}")
    return lines


def unknown(model: type[BaseModel], names: Iterable[str]) -> dict[str, str]:
    """Return the variables with our prefix that are no setting of a service, and the cure for each.

    Args:
        model: The service's settings.
        names: All names of the environment.
    """
    known = {PREFIX + name.upper() for name in model.model_fields}
    strange = (it for it in names if it.upper().startswith(PREFIX) and it.upper() not in known)
    return {it: _cure(it, known) for it in sorted(strange) if not it.upper().startswith(OTHERS)}


def _cure(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.85)
    return f"write {close[0]}" if close else f"no setting of this program; {PAGE}"
