"""YAML as kubectl reads it, with the line of every field. Called by `manifests`.

Documents are split before they are parsed, so a broken one does not stop the others. Size, depth
and the number of values (aliases multiply them) are bounded; a key that is there twice is refused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import yaml

Path = tuple[str | int, ...]
"""Names and indexes from a document's root to a value."""

MAX_BYTES: Final = 1 << 20
"""Largest text, in bytes; Kubernetes itself takes no larger object."""
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 100_000
"""Most values of a document with aliases followed: ten rows of ten aliases make 10^10 of them."""

MAX_DIGITS: Final = 64
"""Longest number that is read as one; Python refuses to read very long ones."""

_SEPARATOR: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_CONTENT: Final = re.compile(r"^(?!\s*(#|$))", re.MULTILINE)
_INTEGER: Final = re.compile(r"[-+]?(0b[01]+|0x[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_TAG: Final = "tag:yaml.org,2002:"
_TRUE: Final = frozenset({"true", "yes", "on", "y"})
_SHORT_BOOLEANS: Final = frozenset({"y", "Y", "n", "N"})  # for kubectl, not for PyYAML


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field stands.

    Attributes:
        line: Line in the whole text, from 1.
        key: The field's name as it is written, which for a bare `on` is not what YAML reads.
        text: Its value as it is written, when that is a bare word or number; else None.
    """

    line: int
    key: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        number: Which one, from 1; those that hold nothing but comments are not counted.
        value: What it holds, as plain dicts, lists and scalars.
        places: Where each value stands; the document itself is at ().
    """

    number: int
    value: object
    places: dict[Path, Place]

    def place(self, path: Path) -> Place:
        """Return where a value stands; for a missing one, where the object around it does."""
        around = (path[:length] for length in range(len(path), -1, -1))
        return next(self.places[place] for place in around if place in self.places)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that is not YAML, or more than one should hold.

    Attributes:
        number: Which one, from 1.
        line: Where in the whole text, from 1.
        path: Where in the document, () when that is not known.
        message: What is wrong.
        cure: What to do.
    """

    number: int
    line: int
    path: Path
    message: str
    cure: str


def read(text: str) -> Iterator[Document | Unreadable]:
    """Yield each document, or why it cannot be read.

    Args:
        text: One or several YAML documents, or JSON.
    """
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        yield Unreadable(1, 1, (), "is larger than 1 MiB", "split it into several files")
        return
    number = 0
    for line, part in _split(text.removeprefix("\ufeff")):
        if not _CONTENT.search(part.removeprefix("---")):
            continue
        number += 1
        reader = _Reader(line)
        try:
            yield Document(number, reader.document(part), reader.places)
        except _Stop as stop:
            yield Unreadable(number, stop.line, stop.path, stop.message, stop.cure)


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Yield each document's first line, from 1, and its text, separator included."""
    starts = [0, *(found.start() for found in _SEPARATOR.finditer(text)), len(text)]
    line = 1
    for start, end in zip(starts, starts[1:], strict=False):  # noqa: RUF007 # pairwise is no shorter
        yield line, text[start:end]
        line += text.count("\n", start, end)


class _Stop(Exception):
    """Why a document cannot be read any further."""

    def __init__(self, line: int, message: str, cure: str, path: Path = ()) -> None:
        super().__init__(message)
        self.line, self.message, self.cure, self.path = line, message, cure, path


class _Loader(yaml.SafeLoader):
    """Composes nodes to a bounded depth, for deep nesting would end in Python's own limit."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"is nested deeper than {MAX_DEPTH} levels"
            raise yaml.MarkedYAMLError(None, None, message, self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Turns the nodes of one document into plain values.

    Args:
        first_line: The document's first line in the whole text, from 1.
    """

    def __init__(self, first_line: int) -> None:
        self.places: dict[Path, Place] = {}
        self._first_line = first_line
        self._values = 0

    def document(self, text: str) -> object:
        """Return what a document holds.

        Raises:
            _Stop: It cannot be read.
        """
        try:
            node = _Loader(text).get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self._first_line + (mark.line if mark else 0)
            message = error.problem or error.context or "cannot be read"
            raise _Stop(line, f"not YAML: {message}", _cure(message)) from error
        except yaml.reader.ReaderError as error:
            line = self._first_line + text.count("\n", 0, error.position)
            raise _Stop(
                line, "holds a character that YAML does not allow", "take it out"
            ) from error
        return None if node is None else self._value(node, (), "")

    def _value(self, node: yaml.Node, path: Path, key: str, line: int | None = None) -> object:
        line = line or self._line(node)
        text = node.value if isinstance(node, yaml.ScalarNode) and node.style is None else None
        self.places[path] = Place(line, key, text)
        self._count(line, path)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self._value(item, (*path, index), "") for index, item in items]
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 # there is no fourth kind
        return self._scalar(node, path)

    def _count(self, line: int, path: Path) -> None:
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            message = f"holds more than {MAX_VALUES} values or {MAX_DEPTH} levels"
            raise _Stop(line, message, "use fewer aliases", path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = self._line(key_node)
            if key_node.tag == f"{_TAG}merge":
                merged |= self._merged(value_node, path)
                continue
            name = self._name(key_node, path)
            if name in own:
                raise _Stop(line, "is there twice", "keep one of the two", (*path, name))
            own[name] = self._value(value_node, (*path, name), key_node.value, line)
        return merged | own

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, object]:
        """Return what `<<` brings in; the first of several wins, as YAML has it."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, object] = {}
        for source in sources:
            self._count(self._line(node), path)
            if not isinstance(source, yaml.MappingNode):
                raise _Stop(self._line(node), "<< takes a mapping", "name an anchor of one", path)
            found = self._mapping(source, path) | found
        return found

    def _name(self, node: yaml.Node, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise _Stop(self._line(node), "a field's name must be text", "write a word", path)
        name = self._scalar(node, path)
        if isinstance(name, bool):
            return str(name).lower()  # as kubectl turns it into JSON
        return "null" if name is None else str(name)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text: str = node.value
        kind = "bool" if node.style is None and text in _SHORT_BOOLEANS else node.tag
        convert = _SCALARS.get(kind.removeprefix(_TAG))
        if convert is None:
            message = f"the tag {node.tag} is not understood"
            raise _Stop(self._line(node), message, "take the tag out", path)
        return convert(text)

    def _line(self, node: yaml.Node) -> int:
        return self._first_line + node.start_mark.line


def _integer(text: str) -> int | str:
    """Return a number, or the text itself for what only YAML 1.1 calls one: `190:20`, a time."""
    digits = text.replace("_", "")
    if not _INTEGER.fullmatch(digits) or len(digits) > MAX_DIGITS:
        return text
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0b", 2), ("0x", 16), ("0", 8)):
        if digits.startswith(prefix) and digits != "0":
            return sign * int(digits.removeprefix(prefix), base)
    return sign * int(digits)


def _number(text: str) -> float | int | str:
    """Return a number; whole ones as int, as JSON has no difference between 5.0 and 5."""
    try:
        number = float(text.replace("_", ""))
    except ValueError:  # .inf, .nan and 1:30.5: no JSON has them
        return text
    return int(number) if number.is_integer() else number


_SCALARS: Final[dict[str, Callable[[str], object]]] = {
    "str": str,
    "timestamp": str,
    "value": str,
    "null": lambda _text: None,
    "bool": lambda text: text.lower() in _TRUE,
    "int": _integer,
    "float": _number,
}
"""By the tag that YAML 1.1 gives a scalar; what has no tag here is no plain value."""


def _cure(message: str) -> str:
    if "\\t" in message:
        return "indent with spaces, YAML takes no tabs"
    if "mapping values are not allowed" in message:
        return "check the indentation, and quote a text that holds ': '"
    if "nested" in message:
        return "nest less"
    return "check indentation, colons and quotes at that line"
