"""`tiergarten serve` as a program that a test runs, with an environment of the test's own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from routing import free_port

SECONDS = 90  # the machine may be busy
PROGRAM = (sys.executable, "-c", "from tiergarten_router.cli.main import main; main()")


def environ(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment without a login of this machine's own."""
    # kubernetes-asyncio is large: without its bytecode it takes ten seconds to import.
    left_out = ("KUBE", "TIERGARTEN_", "PYTHONDONTWRITEBYTECODE")
    own = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return own | {"HOME": str(folder)} | more


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, code: str = "") -> Iterator[httpx.Client]:
    """Run the program while a block runs; it must end well when it is told to."""
    with started(folder, *arguments, code=code) as (process, client):
        yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, (folder / "log").read_text()


@contextlib.contextmanager
def started(
    folder: Path, *arguments: str, code: str = "", **more: str
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Run the program while a block runs, with more variables; yield it and a client of it."""
    port = free_port()
    program = [*PROGRAM[:2], code + PROGRAM[2]]
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [*program, "serve", "--port", str(port), *arguments],
            env=environ(folder, **more),
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(client.get("/readyz").json()["tiers_ready"])
    return False


def wait_until_ready(client: httpx.Client, log: Path) -> None:
    end = time.monotonic() + SECONDS
    while not ready(client):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
