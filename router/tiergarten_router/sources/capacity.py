"""How much memory this machine has, and whether the tiers fit into it.

`machine` reads it from the kernel, `fit` decides. A container's limit counts as the machine's end.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes.

    Attributes:
        total_bytes: All there is, or that the control group allows.
        available_bytes: What could be had now without swapping.
    """

    total_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What a tier needs.

    Attributes:
        tier: The tier's name.
        replica_bytes: Estimated memory of one replica.
        replicas: How many are wanted.
        running: How many of them run already, and so have their memory.
    """

    tier: str
    replica_bytes: int
    replicas: int
    running: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether it all fits.

    Attributes:
        refused: Tiers of which not even one replica fits, each with the reason.
        warning: What to know before starting the rest; empty when it all fits.
        left_bytes: What is free when all is started; negative when not all fits.
    """

    refused: dict[str, str]
    warning: str
    left_bytes: int


def fit(demands: Iterable[Demand], machine: Machine) -> Fit:
    """Return which tiers can never fit, and whether the others fit together."""
    refused, missing_bytes, names = {}, 0, []
    for demand in demands:
        if demand.replica_bytes > machine.total_bytes:
            refused[demand.tier] = (
                f"one replica needs {_mib(demand.replica_bytes)} and this machine has "
                f"{_mib(machine.total_bytes)}; lower "
                "runtime.contextLength or take a smaller quantization"
            )
            continue
        starting = max(0, demand.replicas - demand.running)
        missing_bytes += demand.replica_bytes * starting
        names += [f"{demand.tier} {starting} x {_mib(demand.replica_bytes)}"] if starting else []
    left_bytes = machine.available_bytes - missing_bytes
    warning = "" if left_bytes >= 0 or not names else (
        f"the tiers need {_mib(missing_bytes)} of memory ({', '.join(names)}) and "
        f"{_mib(machine.available_bytes)} are available; lower replicas or runtime.contextLength"
    )  # fmt: skip
    return Fit(refused, warning, left_bytes)


def machine(root: Path = Path("/")) -> Machine:
    """Read how much memory there is.

    Args:
        root: Where `proc` and `sys` are.
    """
    lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    info = {name: int(value.split()[0]) * 1024 for name, value in (ln.split(":") for ln in lines)}
    total, available = info["MemTotal"], info["MemAvailable"]
    for limit, used in _control_groups(root):
        total, available = min(total, limit), min(available, max(0, limit - used))
    return Machine(total, available)


def _control_groups(root: Path) -> Iterable[tuple[int, int]]:
    """Yield limit and use of each control group above this process, in bytes."""
    base = root / "sys/fs/cgroup"
    own = ""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            own = line[3:].strip("/") if line.startswith("0::") else own
    folder = base / own if own else base
    for group in (folder, *(parent for parent in folder.parents if parent.is_relative_to(base))):
        yield from _limit(group, "memory.max", "memory.current", "inactive_file")
    yield from _limit(
        base / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    )


def _limit(group: Path, limit: str, used: str, reclaimable: str) -> Iterable[tuple[int, int]]:
    """Yield limit and use of one control group, or nothing where it has none."""
    with suppress(OSError, ValueError):  # `max` is no number
        bound = int((group / limit).read_text(encoding="ascii"))
        pages = (group / "memory.stat").read_text(encoding="ascii").split()
        cached = dict(zip(pages[::2], pages[1::2], strict=False)).get(reclaimable, "0")
        yield bound, int((group / used).read_text(encoding="ascii")) - int(cached)


def _mib(size: int) -> str:
    return f"{size / _MEBIBYTE:,.0f} MiB"
