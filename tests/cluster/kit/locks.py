"""Which exact packages an image gets: the project's lock, cut down to what one program needs.

The lock holds all that development needs, for every Python. What needs what is read from the
packages that are installed here, versions and hashes from the lock.
"""

import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kit import debian
from kit.errors import Failed

PROJECT = Path(__file__).parents[3]
LOCK = PROJECT / "locks" / "dev.txt"
NAME = "tiergarten"
CONTINUED = " \\\n    "
# The image's Python, whatever Python runs the tests.
MARKERS = {"python_version": debian.PYTHON, "python_full_version": debian.PYTHON_FULL}


def requirements(extras: Sequence[str]) -> list[Requirement]:
    """Return the project's own requirements and those of some of its extras."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"]]
    for extra in extras:
        named += project["optional-dependencies"][extra]
    return [r for r in map(Requirement, named) if canonicalize_name(r.name) != NAME]


def pins(wanted: Iterable[Requirement], lock: Path = LOCK) -> list[str]:
    """Return the lines of the lock for requirements and for all that they require in turn.

    Raises:
        Failed: The lock lacks one.
    """
    locked = _read(lock)
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(wanted)
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        if name not in locked:
            raise Failed(f"{lock.name} lacks {name}; lock again with `make lock`")
        found[name] = locked[name]
        queue += [r for r in _required(name) if _applies(r, ("", *requirement.extras))]
    return [found[name] for name in sorted(found)]


def names(lock: Path) -> list[str]:
    """Return the packages of a lock that the image's Python would take."""
    return sorted(_read(lock))


def _read(lock: Path) -> dict[str, str]:
    """Return what the lock says about each package that the image's Python would take."""
    entries: dict[str, str] = {}
    for text in lock.read_text().replace(CONTINUED, " ").splitlines():
        first, *hashes = text.split(" --hash=")
        requirement = Requirement(first)
        if _applies(requirement, ("",)):
            exact = f"{canonicalize_name(requirement.name)}{requirement.specifier}"
            entries[canonicalize_name(requirement.name)] = " --hash=".join([exact, *hashes])
    return entries


def _required(name: str) -> list[Requirement]:
    """Return what a package requires; nothing of one that only the image's Python needs."""
    try:
        return list(map(Requirement, metadata.requires(name) or []))
    except metadata.PackageNotFoundError:
        return []


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return not marker or any(marker.evaluate(MARKERS | {"extra": extra}) for extra in extras)
