"""Says where an object differs from the manifest that was applied. Pure; called by `reconcile`.

The API server fills in defaults, others add fields of their own, and quantities come back in
another notation: none of that is drift. A field that the manifest has and the object has not, or
has differently, is.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tiergarten_api.v1alpha1 import quantity

# What names an item of a list whose items others may add to, most telling first.
MERGE_KEYS: Final = ("mountPath", "containerPort", "uid", "name", "port")
CORES: Final = "n"


def differences(wanted: Any, live: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 -- JSON
    """Yield the paths at which a live object is not as it was wanted.

    Args:
        wanted: What was applied, or a part of it.
        live: What the API server has.
        path: Where both stand.
    """
    if isinstance(wanted, Mapping):
        yield from _of_mappings(wanted, live, path)
    elif isinstance(wanted, list | tuple):
        yield from _of_lists(wanted, live, path)
    elif not _same(wanted, live):
        yield path


def _of_mappings(wanted: Mapping[str, Any], live: Any, path: str) -> Iterator[str]:  # noqa: ANN401 -- JSON
    if not isinstance(live, Mapping):
        if live is not None or not _empty(wanted):
            yield path
        return
    for name, value in wanted.items():
        yield from differences(value, live.get(name), f"{path}.{name}".removeprefix("."))


def _of_lists(wanted: Sequence[Any], live: Any, path: str) -> Iterator[str]:  # noqa: ANN401 -- JSON
    found: Sequence[Any] = live if isinstance(live, list) else ()
    if (key := _merge_key(wanted)) is not None:
        by_key = {item.get(key): item for item in found if isinstance(item, Mapping)}
        for item in wanted:
            yield from differences(item, by_key.get(item[key]), f"{path}[{item[key]}]")
    elif len(wanted) != len(found):
        yield path
    else:
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")


def _merge_key(items: Sequence[Any]) -> str | None:
    """Return the field that names the items, or None for a list that is replaced whole."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in MERGE_KEYS:
        if all(key in item for item in items):
            return key
    return None


def _empty(value: Any) -> bool:  # noqa: ANN401 -- JSON
    """Return whether Kubernetes leaves a value out when it writes an object."""
    if isinstance(value, Mapping):
        return all(_empty(item) for item in value.values())
    return value is None or value in ("", False, 0) or value == []


def _same(wanted: Any, live: Any) -> bool:  # noqa: ANN401 -- JSON
    if wanted == live and isinstance(wanted, bool) == isinstance(live, bool):
        return True
    if live is None:
        return _empty(wanted)
    amounts = _amount(wanted), _amount(live)
    return None not in amounts and amounts[0] == amounts[1]


def _amount(value: Any) -> Decimal | None:  # noqa: ANN401 -- JSON
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    scale = Decimal(1)
    if text.endswith(CORES):  # a billionth, which the API server may answer with
        text, scale = text[:-1], Decimal("1e-9")
    try:
        return quantity.amount(text) * scale
    except ValueError:
        return None
