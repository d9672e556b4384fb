"""The program `tiergarten-llama-server`: llama.cpp's own HTTP server from the wheel `xllamacpp`.

It takes llama-server's command line, so that tests and local mode start what a container starts
where no llama-server is installed. It stops like llama-server: SIGTERM closes the listener and cuts
what is being generated, a stream that is open delays the exit until its next ping, a query without
a stream delays it for ever, and a second signal ends it at once.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tiergarten_api import gguf
from tiergarten_llama.options import BadOption, Value, parse

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
FILES: Final = ("model", "mmproj", "spec_draft_model")


def main() -> int:
    """Run the program and return its exit status: 0 after a signal, 1 for what cannot be served."""
    return run(sys.argv[1:], os.environ)


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Serve until a signal comes.

    Args:
        arguments: llama-server's command line, without the program's name.
        environ: The environment, with `LLAMA_ARG_*`.
    """
    serving, stop = threading.Event(), threading.Event()
    _on_signals(serving, stop)
    try:
        options = parse(arguments, environ)
        for file in _files(options):
            _check_file(Path(file))
        _serve(options, serving, stop)
    except (BadOption, gguf.NotGGUF, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- as llama-server does
        return 1
    return 0


def _on_signals(serving: threading.Event, stop: threading.Event) -> None:
    def on_signal(*_: object) -> None:
        if not serving.is_set():  # loading cannot be interrupted, and nobody is served yet
            os._exit(0)  # pragma: no cover -- what is recorded is lost with the process
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # closing holds the interpreter's lock
        stop.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)


def _files(options: Mapping[str, Value]) -> list[str]:
    """Return every GGUF file that the options name."""
    files = [str(options[name]) for name in FILES if name in options]
    return files + [file for file in str(options.get("lora", "")).split(",") if file]


def _check_file(file: Path) -> None:
    """Pass if the file can be served; llama.cpp aborts the whole process on some that cannot."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header = gguf.read_header(stream)
    except OSError as error:
        raise BadOption(f"failed to open GGUF file '{file}': {error.strerror}") from error
    except gguf.NotGGUF as error:
        raise gguf.NotGGUF(f"failed to load GGUF file '{file}': {error}") from error
    if size < header.file_bytes:
        message = f"it has {size} of {header.file_bytes} bytes; fetch it again"
        raise gguf.NotGGUF(f"failed to load GGUF file '{file}': {message}")


def _serve(options: Mapping[str, Value], serving: threading.Event, stop: threading.Event) -> None:
    """Load the model, then wait for the signal.

    Loading runs in a thread of its own: it is deaf to signals and takes long.

    Raises:
        BadOption: An option's value cannot be used.
        RuntimeError: llama.cpp refuses the model or the parameters.
    """
    import xllamacpp  # noqa: PLC0415 -- 100 MB that a bad option or file never needs

    from tiergarten_llama import parameters  # noqa: PLC0415 -- imports it too

    built = parameters.build(options)

    def hold() -> None:
        server = xllamacpp.Server(built)  # returns when the model is loaded
        serving.set()
        address = server.listening_address
        print("listening on", address, file=sys.stderr, flush=True)  # noqa: T201 -- its log
        stop.wait()
        del server  # closes it

    with ThreadPoolExecutor(1, thread_name_prefix="llama") as pool:
        pool.submit(hold).result()


if __name__ == "__main__":
    sys.exit(main())
