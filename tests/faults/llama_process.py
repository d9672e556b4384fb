"""A real llama.cpp server as a process of a test's own: no fake, beside the one that is.

Tests get one from the fixtures `llama_server` and `scripted_server`; the class is here so that they
can name its type.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_SECONDS = 30
STOP_SECONDS = 10
LOOK_SECONDS = 0.02

# Not anchored to a line's start: llama.cpp writes a line's time and its text apart, and the line
# with the address, which is written whole, may come between the two.
_ADDRESS = re.compile(r"listening on (http://\S+)\n")

_METRIC = re.compile(r"^llamacpp:(\w+) (\S+)$", re.MULTILINE)


class LlamaProcess:
    """`tiergarten-llama-server` on a free loopback port, with one thread, up inside `with`.

    Args:
        model: The model's file.
        log: File for what it writes.
        arguments: Further options of llama-server; later ones win over the default ones.
        environ: Further variables.

    Attributes:
        process: The process; it leads a process group of its own.
        url: Base URL such as `http://127.0.0.1:40123`; empty until it listens.
    """

    def __init__(
        self,
        model: Path,
        log: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._command = [
            *(sys.executable, "-m", "tiergarten_llama.server", "--model", str(model)),
            *("--host", "127.0.0.1", "--port", "0"),  # the system picks a free port
            # More threads than free cores wait for each other by spinning, and tests are many.
            *("--threads", "1", "--ctx-size", "8192", "--cache-ram", "0", "--metrics"),
            *("--threads-http", "64", "--sse-ping-interval", "1", *arguments),
        ]
        self._environ = {**os.environ, **(environ or {})}
        self.url = ""
        self.process: subprocess.Popen[bytes]

    def start(self) -> Self:
        """Start it, without waiting until it has loaded its model."""
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )
        return self

    def wait_ready(self) -> Self:
        """Return when `/health` says that it is ready."""
        self.wait(lambda: bool(_ADDRESS.search(self.log())), "listens")
        found = _ADDRESS.search(self.log())
        assert found
        self.url = found[1]
        self.wait(self._is_healthy, "is healthy")
        return self

    def _is_healthy(self) -> bool:
        return httpx.get(f"{self.url}/health", timeout=START_SECONDS).is_success

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Return when a condition holds; fail if it does not in time, or the process has ended."""
        end = time.monotonic() + START_SECONDS
        while not condition():
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.log()}")
            if time.monotonic() > end:
                raise AssertionError(f"not after {START_SECONDS} s: {what}: {self.log()}")
            time.sleep(LOOK_SECONDS)

    def log(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name, without the prefix `llamacpp:`."""
        text = httpx.get(f"{self.url}/metrics").text
        return {name: float(value) for name, value in _METRIC.findall(text)}

    def load(self) -> tuple[int, int]:
        """Return how many queries it works at, and how many wait for a slot."""
        metrics = self.metrics()
        return int(metrics["requests_processing"]), int(metrics["requests_deferred"])

    def stop(self) -> int:
        """End it by SIGTERM, or by SIGKILL if that takes too long; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.wait()

    def kill(self) -> None:
        """End it and whatever it started at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        try:
            return self.start().wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
