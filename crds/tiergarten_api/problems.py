"""What is wrong with a user's YAML: where, which value, why and the cure.

Made by `mistakes` (one object) and `references` (several), placed in a file by `manifests`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from tiergarten_api.documents import Document, Path

Severity = Literal["error", "warning"]

SHOWN: Final = 40
"""Most characters of a value that are shown."""
SECRET: Final = frozenset({"extraEnv", "annotations"})
"""Fields below which no value is shown, for it may be a password."""

_USER: Final = re.compile(r"(?<=://)[^/@]*@")
_QUERY: Final = re.compile(r"[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in one document.

    Attributes:
        path: Where in the document.
        message: What is wrong, such as `must be a whole number`.
        cure: What to do.
        value: The value as it may be shown, empty when there is none or it may be secret.
        severity: `error`: the object is refused. `warning`: it is kept, as a cluster would keep it.
    """

    path: Path
    message: str
    cure: str
    value: str = ""
    severity: Severity = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """A Finding with its place in a file.

    Attributes:
        file: The file as its reader named it.
        document: Which document of the file, from 1.
        line: Line in the file, from 1.
        field: Field path such as `spec.tiers[0].name`, empty for the document as a whole.
        value: As in Finding.
        message: As in Finding.
        cure: As in Finding.
        severity: As in Finding.
    """

    file: str
    document: int
    line: int
    field: str
    value: str
    message: str
    cure: str
    severity: Severity = "error"

    def __str__(self) -> str:
        """Return one line for people."""
        where = f"{self.file}:{self.line}: {self.severity}: "
        what = self.field or f"document {self.document}"
        value = f" (it is {self.value})" if self.value else ""
        return f"{where}{what}: {self.message}{value}; {self.cure}"


def placed(finding: Finding, document: Document, file: str) -> Problem:
    """Return a finding with its place in a file."""
    return Problem(
        file=file,
        document=document.number,
        line=document.place(finding.path).line,
        field=field_path(finding.path),
        value=finding.value,
        message=finding.message,
        cure=finding.cure,
        severity=finding.severity,
    )


def field_path(path: Path) -> str:
    """Return a path as Kubernetes writes it: `spec.tiers[0].name`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def shown(value: object, path: Path) -> str:
    """Return a value as it may be shown: short, on one line, without what may be secret."""
    if value is None or SECRET & set(path):
        return ""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value)
    if "extraArgs" in path:
        text = text.partition("=")[0]  # the flag's name; its value may be a key
    if "://" in text:
        text = _QUERY.sub("", _USER.sub("", text))  # a signed URL is a password too
    return f'"{text[:SHOWN]}…"' if len(text) > SHOWN else f'"{text}"'
