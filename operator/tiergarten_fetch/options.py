"""How a fetch behaves, apart from what it fetches; the environment is read here and only here."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from tiergarten_fetch.locks import Pace
from tiergarten_fetch.retries import Backoff

HUB = "https://huggingface.co"


def free_bytes(folder: Path) -> int:
    """Return the bytes that the folder's file system lets us write."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Options:
    """How a fetch behaves.

    Attributes:
        endpoint: The hub's base URL. It comes from an administrator, so it may be on loopback.
        token: The hub's token; only the endpoint's origin gets it.
        header: A line `Name: value` for an http source, or a value of `Authorization`.
        revision: A commit to fetch in place of what the spec's revision stands for now.
        refetch: Whether to ask the source, and to hash what is there, although all is there.
        loopback: Whether sources may be on this machine; local mode says yes.
        connect_seconds: Longest time for a connection.
        stall_seconds: Longest silence of a source before the try counts as failed.
        backoff: Pauses between tries.
        pace: Heartbeat of locks, and how long to wait for one.
        free: Bytes that may be written to a folder's file system.
        chance: A random number between 0 and 1, for jitter.
    """

    endpoint: str = HUB
    token: SecretStr | None = None
    header: SecretStr | None = None
    revision: str | None = None
    refetch: bool = False
    loopback: bool = False
    connect_seconds: float = 10.0
    stall_seconds: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)
    pace: Pace = field(default_factory=Pace)
    free: Callable[[Path], int] = free_bytes
    chance: Callable[[], float] = random.random


def from_environment(environ: Mapping[str, str]) -> Options:
    """Return the options that the environment sets.

    Args:
        environ: `HF_ENDPOINT`, `HF_TOKEN`, `TIERGARTEN_FETCH_HEADER`, and
            `TIERGARTEN_FETCH_LOOPBACK` (`1`: sources may be on this machine). Empty counts as
            unset: that is what an optional Secret key gives.
    """
    return Options(
        endpoint=environ.get("HF_ENDPOINT") or HUB,
        token=_secret(environ.get("HF_TOKEN")),
        header=_secret(environ.get("TIERGARTEN_FETCH_HEADER")),
        loopback=environ.get("TIERGARTEN_FETCH_LOOPBACK") == "1",
    )


def _secret(text: str | None) -> SecretStr | None:
    return SecretStr(text) if text and text.strip() else None
