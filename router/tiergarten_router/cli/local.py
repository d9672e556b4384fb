"""`tiergarten local`: the YAML without a cluster, as processes of this machine.

What can be known to be wrong is said before anything is started, a line each, with exit code 2.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from rich.console import Console

from tiergarten_router import app, logs
from tiergarten_router.cli import starting
from tiergarten_router.cli.progress import Progress
from tiergarten_router.cli.starting import NotStarted
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
from tiergarten_router.sources import builder, valkey
from tiergarten_router.sources.local import LocalSource
from tiergarten_router.sources.models import Models, Unusable

ALONE: Final = {"ops_port": 0, "stop_delay_seconds": 0.0}  # nobody probes, and nobody balances
CACHE: Final = Path.home() / ".cache" / "tiergarten"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for.

    Attributes:
        files: YAML files.
        volumes: A folder for each claim.
        host: Address to listen on.
        port: Port to listen on.
        cache: Folder of fetched models.
        server: The llama-server to start, or None for the one that is found.
    """

    files: tuple[Path, ...]
    volumes: dict[str, Path]
    host: str = "127.0.0.1"
    port: int = 8080
    cache: Path = CACHE
    server: Path | None = None


class Watched:
    """A source whose snapshots are seen by others too.

    Args:
        source: The source.
        seen: Told each snapshot after the router has it.
    """

    def __init__(self, source: LocalSource, *seen: Callable[[Snapshot], None]) -> None:
        self._source = source
        self._seen = seen

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Run the source and tell everyone."""

        def tell(snapshot: Snapshot) -> None:
            publish(snapshot)
            for seen in self._seen:
                seen(snapshot)

        await self._source.run(tell)


def volumes(mappings: Sequence[str]) -> dict[str, Path]:
    """Return the folder of each claim.

    Args:
        mappings: `CLAIM=DIR`, as the option `--volume` has them.

    Raises:
        NotStarted: If one is not of that form, or its folder is missing.
    """
    found: dict[str, Path] = {}
    for mapping in mappings:
        claim, _, folder = mapping.partition("=")
        if not claim or not folder:
            raise NotStarted(
                f"--volume {mapping}: is not CLAIM=DIR; write --volume models=./models"
            )
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise NotStarted(f"--volume {mapping}: there is no folder {folder}; make it or fix it")
        found[claim] = path
    return found


def alone(told: Settings) -> Settings:
    """Return settings with what is otherwise by default on a machine of one's own."""
    unsaid = {name: value for name, value in ALONE.items() if name not in told.model_fields_set}
    return told.model_copy(update=unsaid)


async def run(options: Options, console: Console, announce: Callable[[], None]) -> None:
    """Run local mode until SIGTERM or SIGINT.

    Args:
        options: What the user asked for.
        console: Where problems and progress are shown.
        announce: Called when the port is open.

    Raises:
        NotStarted: If it cannot start.
    """
    me = asyncio.current_task()
    if me is not None:  # uvicorn passes the signal on once it has ended; then all is put away
        starting.end_by_signal(me)
    told = alone(starting.settings())
    logs.configure(told)
    starting.tell_unknown()
    async with prepared(options, console) as source, redis(told, console) as complete:
        with Progress(console) as progress:
            watched = Watched(source, progress.show)
            await app.serve(
                complete, watched, host=options.host, port=options.port, announce=announce
            )


@asynccontextmanager
async def prepared(options: Options, console: Console) -> AsyncIterator[LocalSource]:
    """Yield the source of the files, once all that can be checked is checked; close it at the end.

    Raises:
        NotStarted: If nothing of it can run.
    """
    starting.check_port(options.host, options.port)
    try:
        server = builder.program(options.server)
    except Unusable as error:
        raise NotStarted(error.message) from error
    source = LocalSource(options.files, Models(options.volumes, options.cache), server)
    contents = source.read()
    for line in contents.warnings:
        console.print(line, style="yellow", markup=False, highlight=False)
    if contents.errors:
        raise NotStarted(*contents.errors)
    try:
        fit = await source.prepare(contents)
        if fit.warning:
            console.print(fit.warning, style="yellow", markup=False, highlight=False)
        if hopeless := source.hopeless():
            raise NotStarted(*hopeless)
        yield source
    finally:
        await source.close()


@asynccontextmanager
async def redis(told: Settings, console: Console) -> AsyncIterator[Settings]:
    """Yield the settings with the URL of an embedded Valkey, if they name no Redis."""
    if told.redis_url is not None:
        yield told
        return
    with tempfile.TemporaryDirectory(prefix="tiergarten-") as folder:
        try:
            async with valkey.running(Path(folder)) as url:
                yield told.model_copy(update={"redis_url": SecretStr(url)})
        except valkey.ValkeyNotStarted as error:
            console.print(f"no embedded Valkey: {error}", style="yellow", markup=False)
            yield told


def main(options: Options, console: Console) -> int:
    """Run local mode and return the exit code: 0, or 2 when it could not start."""
    url = f"http://{options.host}:{options.port}"

    def announce() -> None:
        console.print(f"Tiergarten listens on {url}  (docs: {url}/docs, tiers: {url}/v1/tiers)")

    return starting.main(run(options, console, announce), console)
