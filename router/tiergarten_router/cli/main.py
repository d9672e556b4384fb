"""The program `tiergarten` and its commands."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

cli = typer.Typer(
    help="One model at several quantisation tiers; the cheapest that is good enough answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the program."""
    cli()


@cli.callback(invoke_without_command=True)
def root(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,  # noqa: FBT002 -- typer's way to say a flag
) -> None:
    """Print the version if that is all."""
    if show:
        typer.echo(f"tiergarten {version('tiergarten')}")
        raise typer.Exit


@cli.command()
def local(
    files: Annotated[list[Path], typer.Argument(help="YAML files, as for kubectl apply -f.")],
    volume: Annotated[
        list[str] | None, typer.Option(help="CLAIM=DIR: the folder that stands for a claim.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder of fetched models; default ~/.cache/tiergarten.")
    ] = None,
    llama_server: Annotated[
        Path | None, typer.Option(help="The llama-server to start; default: the one of PATH.")
    ] = None,
) -> None:
    """Run tiers of YAML files as processes of this machine, and the router in front of them."""
    from tiergarten_router.cli import local as mode  # noqa: PLC0415 -- what only local mode needs
    from tiergarten_router.cli.starting import NOT_STARTED, NotStarted  # noqa: PLC0415 -- as above

    console = Console(stderr=True)
    try:
        folders = mode.volumes(volume or ())
    except NotStarted as error:
        error.show(console)
        raise typer.Exit(NOT_STARTED) from error
    options = mode.Options(tuple(files), folders, host, port, cache_dir or mode.CACHE, llama_server)
    raise typer.Exit(mode.main(options, console))


@cli.command()
def serve(
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            help="Serve it; may be repeated; its names stand bare if it is first; else all."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 in a pod.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8080,
    kubeconfig: Annotated[
        str | None, typer.Option(help="How to log in; default: the pod's account, or KUBECONFIG.")
    ] = None,
) -> None:
    """Run the router in front of the tiers of a cluster."""
    from tiergarten_router.cli import serve as mode  # noqa: PLC0415 -- aiohttp, for a cluster alone

    options = mode.Options(tuple(namespace or ()), host, port, kubeconfig)
    raise typer.Exit(mode.main(options, Console(stderr=True)))


@cli.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where models and YAML are written.")] = Path(
        ".demo"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port; the next free one.")] = 8080,
    once: Annotated[bool, typer.Option(help="End after the tour.")] = False,  # noqa: FBT002 -- typer's way to say a flag
) -> None:
    """Write three small models, start their tiers, and send a tour of queries."""
    from tiergarten_router.cli import demo as tour  # noqa: PLC0415 -- numpy, for the demo alone

    stays = sys.stdout.isatty() and not once and os.environ.get("ONCE", "") not in {"1", "true"}
    raise typer.Exit(tour.main(folder, port, stays=stays))


@cli.command()
def explain(
    query: Annotated[str, typer.Argument(help="What a user would say.")],
    model: Annotated[str, typer.Option(help="The name that is asked for.")] = "auto",
    url: Annotated[str, typer.Option(help="The router's address.")] = "http://127.0.0.1:8080",
) -> None:
    """Say which tier and replica a running router would ask, and why."""
    from tiergarten_router.cli import explain as dry_run  # noqa: PLC0415 -- httpx, for this alone

    raise typer.Exit(dry_run.main(query, model, url, Console()))


@cli.command()
def events(
    follow: Annotated[bool, typer.Option(help="Go on with what happens from now on.")] = False,  # noqa: FBT002 -- typer's way to say a flag
    kind: Annotated[
        list[str] | None, typer.Option(help="Beginning of a kind, such as query. or breaker.")
    ] = None,
    tier: Annotated[str, typer.Option(help="Only of this tier.")] = "",
    query: Annotated[str, typer.Option(help="Only of the query with this id.")] = "",
    last: Annotated[int, typer.Option(min=0, help="How many past events to begin with.")] = 100,
    url: Annotated[str, typer.Option(help="A router.")] = "http://127.0.0.1:8080",
) -> None:
    """Show what happens in a router; TIERGARTEN_EVENTS_TOKEN is presented if it is set."""
    from tiergarten_router.cli import events as shown  # noqa: PLC0415 -- websockets, for it alone
    from tiergarten_router.events.client import Watcher  # noqa: PLC0415 -- as above

    token = os.environ.get("TIERGARTEN_EVENTS_TOKEN", "")
    watcher = Watcher(url, kinds=kind or (), tier=tier, query=query, token=token, latest=last)
    raise typer.Exit(shown.main(watcher, follow=follow))
