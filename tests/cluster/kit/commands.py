"""Runs programs of this machine to their end, and says what they said when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kit.errors import Failed

WORDS = 2000


def run(
    argv: Sequence[str],
    given: str = "",
    *,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """Run a program to its end.

    Args:
        argv: The command line; the first word is looked up in PATH.
        given: Its input.
        folder: Where it runs; None for here.
        env: What is added to its environment.
        seconds: How long it may take; None for as long as it likes.

    Returns:
        What it wrote to its output.

    Raises:
        Failed: It ended with another status than 0.
    """
    done = _run(argv, given, folder, env, seconds)
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()[-WORDS:]
        raise Failed(f"{' '.join(argv)[:WORDS]} ended with {done.returncode}: {said}")
    return done.stdout


def works(argv: Sequence[str], env: Mapping[str, str] | None = None) -> bool:
    """Run a program to its end and say whether its status was 0."""
    return _run(argv, "", None, env, None).returncode == 0


def _run(
    argv: Sequence[str],
    given: str,
    folder: Path | None,
    env: Mapping[str, str] | None,
    seconds: float | None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        input=given,
        cwd=folder,
        env=os.environ | dict(env or {}),
        timeout=seconds,
        capture_output=True,
        text=True,
        check=False,
    )
