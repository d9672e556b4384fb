"""A steady load of chat queries on a router, from clients that wait for each answer."""

import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx

from kit.processes import wait_for
from routing import CHAT, ask

HEADERS = {"X-Tiergarten-Cache": "bypass"}
WAIT_SECONDS = 60  # for an answer: far longer than any should take
SECONDS = 120
LONG = 200  # tokens: an answer that lasts while a pod is told to go
SHORT = 20
# One client each: whether it streams, whether it keeps its connection, tokens of an answer.
CLIENTS = (
    (True, True, LONG),
    (True, False, SHORT),
    (False, True, SHORT),
    (False, False, LONG),
)


class Load:
    """Clients that ask until they are told to stop.

    Args:
        url: The router's.
        model: What they ask for.
        tokens: The most tokens of an answer.
    """

    def __init__(self, url: str, model: str, tokens: int = LONG) -> None:
        self.failures: list[str] = []
        self.cut: list[str] = []  # answers that ended with an error event after their first content
        self.seconds: list[float] = []
        self.attempts: Counter[str] = Counter()
        self.endpoints: Counter[str] = Counter()
        self._url, self._model, self._most = url, model, tokens
        self._stop = threading.Event()

    @property
    def answered(self) -> int:
        """How many queries were answered whole."""
        return self.endpoints.total()

    def tell(self, fault: str) -> None:
        """Write the figures to where pytest shows them with `-rP`."""
        tried = ", ".join(f"{count} by {n}" for n, count in sorted(self.attempts.items()))
        asked = self.answered + len(self.failures) + len(self.cut)
        sys.stdout.write(
            f"{fault}: {asked} queries asked, {len(self.failures)} failed, {len(self.cut)} cut "
            f"after content; longest {max(self.seconds):.2f} s; attempts: {tried}; "
            f"{len(self.endpoints)} replicas\n"
        )

    def goes_on(self, count: int = 20) -> None:
        """Wait for some more answers.

        Raises:
            Stuck: They did not come.
        """
        wanted = self.answered + count
        wait_for(f"{count} more answers", lambda: self.answered >= wanted, SECONDS)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Ask while a block runs, from before it begins until after it ends."""
        threads = [
            threading.Thread(target=self._client, args=(number, *it))
            for number, it in enumerate(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            self.goes_on()
            yield
            self.goes_on()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(WAIT_SECONDS)

    def _client(self, number: int, stream: bool, keep: bool, tokens: int) -> None:  # noqa: FBT001 -- a row of CLIENTS
        body: dict[str, Any] = {"max_tokens": min(tokens, self._most), "ignore_eos": True}
        if stream:
            body["stream"] = True
        count = 0
        while not self._stop.is_set():
            with httpx.Client(base_url=self._url, timeout=WAIT_SECONDS, trust_env=False) as client:
                while not self._stop.is_set():
                    count += 1
                    text = f"{number}.{count}: what is a pod?"
                    self._query(client, ask(text, self._model, **body))
                    if not keep:
                        break

    def _query(self, client: httpx.Client, body: dict[str, Any]) -> None:
        begin = time.monotonic()
        try:
            with client.stream("POST", CHAT, json=body, headers=HEADERS) as answer:
                lines = [line for line in answer.iter_lines() if line]
        except httpx.HTTPError as error:
            self.failures.append(f"after {time.monotonic() - begin:.2f} s: {error!r}")
            return
        taken = time.monotonic() - begin
        self.seconds.append(taken)
        headers = dict(answer.headers) | _late(lines)
        if not answer.is_success:
            self.failures.append(f"after {taken:.2f} s: {answer.status_code} {lines}")
        elif whole(lines, stream=bool(body.get("stream"))):
            self.attempts[headers.get("x-tiergarten-attempts", "?")] += 1
            self.endpoints[headers.get("x-tiergarten-endpoint", "?")] += 1
        elif cut(lines):
            self.cut.append(f"after {taken:.2f} s: {lines[-1]}")
        else:
            self.failures.append(f"after {taken:.2f} s: {lines[-2:]}")


def whole(lines: list[str], *, stream: bool) -> bool:
    """Say whether an answer came to its own end."""
    if not stream:
        choice = json.loads("".join(lines))["choices"][0]
        return choice["finish_reason"] == "length" and bool(choice["message"]["content"])
    return lines[-1:] == ["data: [DONE]"] and not any('"error"' in line for line in lines)


def cut(lines: list[str]) -> bool:
    """Say whether a stream had content and then ended with the error event of a lost upstream."""
    event = lines[-1].removeprefix("data: ") if lines else ""
    told = json.loads(event).get("error", {}) if event.startswith("{") else {}
    return told.get("code") == "upstream_disconnected" and any('"content"' in it for it in lines)


def _late(lines: list[str]) -> dict[str, str]:
    """Return the headers that came as comments, as the wait was long."""
    prefix = ": x-tiergarten-"
    words = (line.removeprefix(": ").partition(": ") for line in lines if line.startswith(prefix))
    return {name: value for name, _, value in words}
