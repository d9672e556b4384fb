"""Real parts for tests of any package: small models, and llama.cpp servers that serve them.

Nothing is started for a test that does not ask. What a machine lacks is said by `parts.missing`.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from llama_process import LlamaProcess
from parts import missing


class ServerFactory(Protocol):
    """Starts a llama.cpp server for one test."""

    def __call__(
        self, model: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> LlamaProcess:
        """Return a server that is ready; further arguments are llama-server's own."""


@pytest.fixture(scope="session")
def scripted_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of a model that answers in English as the tier of a name."""
    folder = tmp_path_factory.mktemp("scripted")

    @cache
    def write(name: str) -> Path:
        from tiergarten_llama import models  # noqa: PLC0415 -- numpy, for tests that need a model

        models.write_scripted(folder / f"{name}.gguf", name)
        return folder / f"{name}.gguf"

    return write


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of a model of some size that answers in word salad."""
    folder = tmp_path_factory.mktemp("random")

    @cache
    def write(preset: str) -> Path:
        from tiergarten_llama import models  # noqa: PLC0415 -- as above

        models.write_random(folder / f"{preset}.gguf", preset)
        return folder / f"{preset}.gguf"

    return write


@pytest.fixture
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFactory]:
    """Start llama.cpp servers of a test's own; they end with it."""
    with contextlib.ExitStack() as servers:
        yield _factory(tmp_path_factory.mktemp("llama"), servers)


@pytest.fixture(scope="session")
def scripted_server(
    tmp_path_factory: pytest.TempPathFactory, scripted_model: Callable[[str], Path]
) -> Iterator[Callable[..., LlamaProcess]]:
    """Return a server that all tests share, by its model's name and llama-server's arguments.

    A test leaves it as it was: running, and with nothing in its slots.
    """
    with contextlib.ExitStack() as servers:
        start = _factory(tmp_path_factory.mktemp("llama"), servers)

        @cache
        def shared(name: str = "small", *arguments: str) -> LlamaProcess:
            return start(scripted_model(name), *arguments)

        yield shared


def _factory(folder: Path, servers: contextlib.ExitStack) -> ServerFactory:
    if importlib.util.find_spec("xllamacpp") is None:
        missing("xllamacpp")
    logs = (folder / f"{number}.log" for number in range(1_000_000))

    def start(
        model: Path, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> LlamaProcess:
        server = LlamaProcess(model, next(logs), *arguments, environ=environ)
        return servers.enter_context(server)

    return start
