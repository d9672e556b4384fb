"""Programs that outlive whoever started them, known by pid and birth, and ended the same way.

A pid alone may be used again by somebody else's program, so nothing here signals one before it has
compared the birth. Used by every module of the kit that starts a program; what to start is decided
in `parts`.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05


class Stuck(RuntimeError):
    """A state that was waited for did not come."""


@dataclass(frozen=True)
class Process:
    """One program.

    Attributes:
        pid: Its pid, as this machine's own namespace counts.
        born: Its start in clock ticks since boot; tells it from a later user of the pid.
        parent: The pid of the program that was started for it and only waits for it (`nsenter`,
            `unshare`), or its own pid.
    """

    pid: int
    born: str
    parent: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.parent, os.WNOHANG)
        return birth(self.pid) == self.born

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it ended."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            if number == signal.SIGCONT and _parent(self.pid) == self.parent:
                os.kill(self.parent, number)  # nsenter stops itself along with its child

    def end(self, grace_seconds: float) -> None:
        """Ask it to end, then make it; returns when it is gone."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a frozen one cannot obey
        with contextlib.suppress(Stuck):
            wait_for(f"pid {self.pid} to end", lambda: not self.alive, grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End it at once; returns when it is gone."""
        self.signal(signal.SIGCONT)  # or a frozen nsenter would never see its child end
        self.signal(signal.SIGKILL)
        wait_for(f"pid {self.pid} to end after SIGKILL", lambda: not self.alive, 10)


def birth(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot; None for no process or a zombie.

    One whose other threads still end is none: they hold its ports and files until they are gone.
    """
    fields = _stat(pid)
    return None if not fields or (fields[0] in "ZX" and not _has_threads(pid)) else fields[19]


def _has_threads(pid: int) -> bool:
    """Return whether there is more of a process than its first thread."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > 1
    except OSError:
        return False


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def this_process() -> Process:
    """Return the process that asks."""
    return Process(os.getpid(), birth(os.getpid()) or "", os.getpid())


def spawn(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, *, forks: bool = False
) -> Process:
    """Start a program in a session of its own, so that no signal of a terminal reaches it.

    Args:
        argv: The command line; the first word is looked up in PATH.
        log: The file that gets its output, at the end.
        env: Its environment; None for this process's own.
        forks: The command line starts the program as its child and waits for it; the child counts.

    Returns:
        The program.

    Raises:
        Stuck: It ended at once.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        argv[0],
        list(argv),
        dict(os.environ if env is None else env),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGPIPE],
        setsigmask=[],
    )
    started = Process(pid, birth(pid) or "", pid)
    return _child(started, argv) if forks else started


def _child(parent: Process, argv: Sequence[str]) -> Process:
    """Wait for the program that `nsenter` or `unshare` becomes the parent of."""
    found: list[int] = []

    def runs() -> bool:
        if not parent.alive:  # for want of a right, or of the program
            raise Stuck(f"{' '.join(argv)} ended at once")
        found[:] = [pid for pid in children(parent.pid) if program(pid) != program(parent.pid)]
        return bool(found)

    wait_for(f"a child of {argv[0]}", runs, 10)
    return Process(found[0], birth(found[0]) or "", parent.pid)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def program(pid: int) -> str:
    """Return the file that a process runs; empty if it is gone."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return ""


def wait_for(what: str, probe: Callable[[], bool], seconds: float) -> None:
    """Wait until a probe says yes.

    Raises:
        Stuck: It did not within the time.
    """
    end = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > end:
            raise Stuck(f"gave up after {seconds:g} s waiting for {what}")
        time.sleep(POLL_SECONDS)
