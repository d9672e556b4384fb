"""The scripted upstream as a program, for what a real llama-server does only by accident.

    python stand_in.py FAULTS [--loading] [--deaf] [--busy] [--fail TEXT] --port PORT

FAULTS is the folder of `upstream`. It never gets ready (loading), ignores SIGTERM (deaf), always
has a query (busy), or prints a text and ends with exit code 3 (fail).
"""

import argparse
import asyncio
import contextlib
import signal
import sys


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("faults")
    for flag in ("--loading", "--deaf", "--busy"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--fail")
    parser.add_argument("--port", type=int)
    return parser.parse_known_args()[0]  # llama-server has many more


async def serve(wanted: argparse.Namespace) -> None:
    from upstream import Upstream, loading, page  # noqa: PLC0415 - the path is an argument

    busy = "llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n"
    up = Upstream(pages={"/metrics": page(busy)} if wanted.busy else {})
    if wanted.loading:
        up.pages["/health"] = loading()
    up.port = wanted.port
    async with up:
        print("listens", flush=True)  # noqa: T201 - the program's output
        await asyncio.Event().wait()


def main() -> None:
    wanted = options()
    sys.path.insert(0, wanted.faults)
    if wanted.fail:
        print(wanted.fail)  # noqa: T201 - as above
        sys.exit(3)
    if wanted.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(wanted))


if __name__ == "__main__":
    main()
