"""What a call to Redis can end in but a reply; no client of the router ever sees one of these.

StoreError
├── Unavailable     there is no reply: Redis is away, silent, or what it says is not its protocol
└── Refused         Redis replied with an error, such as OOM or WRONGTYPE
"""


class StoreError(Exception):
    """A call that came to nothing; the message says why, without keys and values."""


class Unavailable(StoreError):
    """There is no reply, and nobody knows whether the command was carried out."""


class Refused(StoreError):
    """Redis replied with an error.

    Args:
        kind: redis-py's name for it, such as `OutOfMemoryError`; Redis' own words may hold keys.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"Redis refused the command: {kind}")
        self.kind = kind
