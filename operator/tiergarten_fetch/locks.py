"""A lock between processes on folders that they share, also over NFS from other machines.

The lock is a file that holds its owner's name. The owner touches it now and then (the heartbeat);
a lock that has not been touched for `stale_seconds` belongs to nobody and is taken over. Ages are
told by the file system's own clock, so machines whose clocks differ agree.

Where both are of one machine, its kernel tells at once whether an owner is dead (`flock`), so that
a fetch that was killed is continued without that wait.

A takeover is exact: whoever wants to replace the lock of owner X, or give it up as X, must first
create the file `<lock>.<X>`, which only one process can. Still an owner may be stopped for longer
than `stale_seconds` and go on: so what it writes is guarded by itself (`partials`), and it asks
`owned` before it makes anything final.
"""

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiergarten_fetch.errors import Busy

NAME_BYTES = 64
BOOT = Path("/proc/sys/kernel/random/boot_id")  # the same in all containers of a machine


@dataclass(frozen=True)
class Pace:
    """How often a lock is touched and looked at.

    Attributes:
        beat_seconds: Time between two touches.
        stale_seconds: A lock that was not touched for so long is taken over; several beats.
        look_seconds: Time between two looks at another's lock. Looks are needed: no file system
            tells about changes that another machine makes.
        wait_seconds: Longest wait for another's lock.
    """

    beat_seconds: float = 5.0
    stale_seconds: float = 30.0
    look_seconds: float = 0.5
    wait_seconds: float = 3600.0


class Lock:
    """A lock file.

    Args:
        path: Where it lies; its folder exists.
        pace: How often it is touched and looked at.
    """

    def __init__(self, path: Path, pace: Pace) -> None:
        self._path = path
        self._pace = pace
        self._machine = machine()
        self._name = f"{secrets.token_hex(8)}.{self._machine}"
        self._held: int | None = None  # descriptor of our lock file, locked as long as we live

    @property
    def owned(self) -> bool:
        """Whether the lock is ours now."""
        return self._owner() == self._name

    @asynccontextmanager
    async def held(self, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the lock inside the block.

        Args:
            waiting: Called each time that the lock is found to be another's.

        Raises:
            Busy: If another held it until the longest wait was over.
        """
        await self._take(waiting)
        beats = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            self._give_up()
            beats.cancel()
            await asyncio.wait({beats})

    async def _take(self, waiting: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._pace.wait_seconds
        while not self._try():
            if time.monotonic() >= deadline:
                raise Busy(
                    f"{self._path}: held by another fetch for {self._pace.wait_seconds:g} s; "
                    "see why that one does not end, or delete the file if there is none"
                )
            waiting()
            await asyncio.sleep(self._pace.look_seconds)

    def _try(self) -> bool:
        if (descriptor := self._create(self._path)) is not None:
            self._held = descriptor
            return True
        owner = self._owner()
        if owner is None:
            return False  # given up this moment: the next try gets it
        if not self._is_dead(owner):
            age = self._age(self._path)
            if age is None or age <= self._pace.stale_seconds:
                return False
        return self._take_over(owner)

    def _is_dead(self, owner: str) -> bool:
        """Return whether the owner is of this machine, and its process has ended."""
        if owner.partition(".")[2] != self._machine:
            return False
        try:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file.read(NAME_BYTES).decode("ascii", "replace") == owner
        except OSError:
            return False

    def _take_over(self, owner: str) -> bool:
        """Replace the lock of an owner that no longer touches it, unless it is another's by now."""
        claim = self._claim(owner)
        claimed = self._create(claim)
        if claimed is None:
            self._forget_if_stale(claim)
            return False
        try:
            if self._owner() != owner:
                return False
            mine = self._claim(f"{self._name}.new")
            self._held = self._create(mine)
            mine.replace(self._path)
            return True
        finally:
            claim.unlink(missing_ok=True)
            os.close(claimed)

    def _give_up(self) -> None:
        claim = self._claim(self._name)
        claimed = self._create(claim)
        if claimed is not None:  # else it is being taken over
            if self.owned:
                self._path.unlink(missing_ok=True)
            claim.unlink(missing_ok=True)
            os.close(claimed)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.beat_seconds)
            with suppress(OSError):  # a missed beat is no error, several are: the lock is lost
                await asyncio.to_thread(self._touch)

    def _touch(self) -> None:
        with self._path.open("r+b") as file:
            if file.read(NAME_BYTES).decode("ascii", "replace") == self._name:
                os.utime(file.fileno())

    def _create(self, path: Path) -> int | None:
        """Return the descriptor of a fresh file with our name in it; None if there is one."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return None
        with suppress(OSError):  # a file system without locks: the heartbeat has to do
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, self._name.encode("ascii"))  # locked before anyone can read our name
        return descriptor

    def _owner(self) -> str | None:
        try:
            with self._path.open("rb") as file:
                return file.read(NAME_BYTES).decode("ascii", "replace")
        except FileNotFoundError:
            return None

    def _age(self, path: Path) -> float | None:
        """Return the seconds since a file was touched, by the file system's clock."""
        probe = self._claim(f"{self._name}.now")
        try:
            probe.touch()
            now = probe.stat().st_mtime
            # Opened, not just looked up: over NFS only an open asks the server anew.
            with path.open("rb") as file:
                return now - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        finally:
            probe.unlink(missing_ok=True)

    def _forget_if_stale(self, claim: Path) -> None:
        """Drop the claim of a process that died between claiming and replacing."""
        age = self._age(claim)
        if age is not None and age > self._pace.stale_seconds:
            claim.unlink(missing_ok=True)

    def _claim(self, owner: str) -> Path:
        safe = owner if owner.replace(".", "").isalnum() else "unknown"  # it was read from a file
        return self._path.with_name(f"{self._path.name}.{safe}")


def machine(boot: Path = BOOT) -> str:
    """Return what tells this machine, since it was booted, from any other."""
    try:
        return boot.read_text("ascii").replace("-", "").strip()
    except OSError:
        return secrets.token_hex(16)  # no other process is taken for one of this machine
