"""The program `tiergarten-fetch`: a Job's container, an init step, or a person at a terminal.

    tiergarten-fetch --spec model.json --dir /models --progress json --termination-log LOG
    tiergarten-fetch --check /model

Secrets come by the environment only (`HF_TOKEN`, `TIERGARTEN_FETCH_HEADER`): arguments are seen by
everyone on the machine. The exit codes are those of `errors`; 143 and 130 after SIGTERM and SIGINT,
where what has come stays for the next fetch.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import fetching, layout, options, outcomes, removing, telling
from tiergarten_fetch.boards import Board
from tiergarten_fetch.displays import Bars, Display, Lines, Silence
from tiergarten_fetch.errors import FetchError, FetchFailed
from tiergarten_fetch.locks import Pace
from tiergarten_fetch.options import Options
from tiergarten_fetch.outcomes import Outcome
from tiergarten_fetch.results import Progress, Report

SPEC_LIMIT = 1 << 20
SIGNALLED = 128  # what shells add to a signal's number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    asked = _parser().parse_args(arguments)
    if asked.remove:
        outcome = _removed(asked)
        _tell(outcome, asked)
        return outcome.exit_code
    if asked.check is not None:
        outcome = _checked(asked.check)
        _tell(outcome, asked)
        return outcome.exit_code
    with _display(asked.progress) as display:
        outcome = asyncio.run(_run(asked, display.show))
    _tell(outcome, asked)
    return outcome.exit_code


async def _run(asked: argparse.Namespace, show: Report) -> Outcome:
    """Fetch, and return the outcome also if a signal stops it."""
    stopped: list[signal.Signals] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopped.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        model = _spec(asked.spec)
        board = Board()

        def heard(progress: Progress) -> None:
            board.show(progress)
            show(progress)

        async with telling.told(board.text, asked.progress_port):
            done = await fetching.fetch(model, asked.dir, options=_options(asked), progress=heard)
        return outcomes.of(done)
    except FetchError as error:
        return outcomes.failed(error)
    except asyncio.CancelledError:
        if not stopped:
            raise
        message = f"stopped by {stopped[0].name}; what has come stays and is continued"
        return Outcome(FetchFailed.reason, SIGNALLED + stopped[0], message)


def _checked(folder: Path) -> Outcome:
    try:
        entries = layout.check(folder)
    except FetchError as error:
        return outcomes.failed(error)
    size = sum(entry.size for entry in entries)
    return Outcome(outcomes.VERIFIED, size=size, file_count=len(entries))


def _removed(asked: argparse.Namespace) -> Outcome:
    try:
        freed = removing.remove(_spec(asked.spec), asked.dir)
    except FetchError as error:
        return outcomes.failed(error)
    return Outcome(outcomes.REMOVED, size=freed)


def _options(asked: argparse.Namespace) -> Options:
    chosen = options.from_environment(os.environ)
    pace = Pace() if asked.lock_wait is None else Pace(wait_seconds=asked.lock_wait)
    endpoint = asked.endpoint or chosen.endpoint
    return replace(
        chosen, endpoint=endpoint, revision=asked.revision, refetch=asked.refetch, pace=pace
    )


def _spec(name: str) -> ModelSpec:
    try:
        if name == "-":
            text = sys.stdin.read(SPEC_LIMIT)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(SPEC_LIMIT)
        return ModelSpec.model_validate_json(text)
    except OSError as error:
        raise FetchFailed(
            f"--spec {name}: {error.strerror}; name a file, or - for stdin"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise FetchFailed(f"--spec {name}: spec.model.{field}: {first['msg']}") from error
    except UnicodeDecodeError as error:
        raise FetchFailed(f"--spec {name}: is not UTF-8; write the spec as JSON") from error


def _display(progress: str) -> Display:
    if _is_bar(progress):
        return Bars(Console(stderr=True))
    if progress == "none":
        return Silence()
    return Lines(sys.stdout, time.monotonic)


def _is_bar(progress: str) -> bool:
    return progress == "bar" or (progress == "auto" and sys.stderr.isatty())


def _tell(outcome: Outcome, asked: argparse.Namespace) -> None:
    """Write the outcome for whoever reads it: a program, a person, the kubelet."""
    text = outcomes.line(outcome)
    for_people = asked.check is not None or _is_bar(asked.progress)
    if for_people:
        said = outcome.message or f"{outcome.file_count} files, {outcome.size} bytes"
        sys.stderr.write(f"{outcome.reason}: {said}\n")
    if not for_people or not sys.stdout.isatty():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    if asked.termination_log is not None:
        with suppress(OSError):  # a read-only place must not make a good fetch a bad one
            asked.termination_log.write_text(text, "utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiergarten-fetch",
        description="Fetch, verify and resume the files of a model.",
        epilog="Environment: HF_TOKEN, HF_ENDPOINT, TIERGARTEN_FETCH_HEADER ('Name: value'), "
        "TIERGARTEN_FETCH_LOOPBACK=1. Exit codes: 41 checksum, 42 not found, 43 unauthorized, "
        "44 no space, 45 not GGUF, 1 anything else.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--spec", metavar="FILE", help="spec.model of a ModelTier as JSON; - is stdin"
    )
    what.add_argument(
        "--check", type=Path, metavar="FOLDER", help="only check that a model's folder is complete"
    )
    parser.add_argument(
        "--remove", action="store_true", help="take the model of --spec out of --dir"
    )
    parser.add_argument("--dir", type=Path, default=Path(), help="folder that holds the models")
    parser.add_argument(
        "--progress",
        choices=("auto", "json", "bar", "none"),
        default="auto",
        help="how progress is shown; auto: a bar on a terminal, else JSON lines",
    )
    parser.add_argument(
        "--progress-port", type=int, metavar="PORT", help="answer GET /progress there"
    )
    parser.add_argument(
        "--termination-log", type=Path, metavar="PATH", help="where to write the result, <= 4096 B"
    )
    parser.add_argument("--endpoint", metavar="URL", help="the hub, in place of HF_ENDPOINT")
    parser.add_argument(
        "--revision", metavar="COMMIT", help="commit to fetch in place of the spec's revision"
    )
    parser.add_argument(
        "--refetch", action="store_true", help="ask the source and hash the files that are there"
    )
    parser.add_argument(
        "--lock-wait", type=float, metavar="SECONDS", help="longest wait for another fetch"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
