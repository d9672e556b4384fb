"""Which endpoint of a tier gets the next query: the one with the least load for each slot."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

SHORTLIST: Final = 16  # beyond a few choices more of them hardly even out the load


class Named(Protocol):
    """Anything with a stable id."""

    @property
    def id(self) -> str:
        """The id, such as `q2-0`."""
        ...


N = TypeVar("N", bound=Named)
T = TypeVar("T")


def others(reported: int, own_then: int) -> int:
    """Return how many queries an endpoint had from elsewhere when it was last asked.

    Args:
        reported: Queries that it said it had, processing and deferred.
        own_then: Of these, the ones that this router had open at that moment.
    """
    return max(0, reported - own_then)


def load(own: int, elsewhere: int, slots: int, share: float = 1.0) -> float:
    """Return an endpoint's load for each slot, the query that is to be placed included.

    The own count is exact and the reported one is some seconds old, so what is added is only what
    came from elsewhere (`others`): a burst that is over does not keep queries away until the next
    report. The query itself is counted so that an idle endpoint with a small share is not as good
    as any other idle one.

    Args:
        own: Queries that this router has open there.
        elsewhere: Queries that it has from elsewhere.
        slots: Its parallel sequences, at least 1.
        share: Part of its slots that it gets just now, above 0; see `breaker.Breaker.share`.
    """
    return (own + elsewhere + 1) / (slots * share)


def pick(endpoints: Iterable[N], load_of: Callable[[N], float], turn: int = 0) -> N | None:
    """Return the least loaded endpoint.

    The choice depends on ids and loads only, not on the order of the input, so that it can be
    replayed from a log.

    Args:
        endpoints: What may be chosen: ready, admitted, and not tried before.
        load_of: The load of one of them.
        turn: A number that rises with each query: endpoints of equal load take turns by it.

    Returns:
        The endpoint, or None when there is none to choose from.
    """
    least: list[N] = []
    lowest = 0.0
    for endpoint in endpoints:
        burden = load_of(endpoint)
        if not least or burden < lowest:
            least, lowest = [endpoint], burden
        elif burden == lowest:
            least.append(endpoint)
    if len(least) > 1:
        least.sort(key=_ident)
        return least[turn % len(least)]
    return least[0] if least else None


def shortlist(endpoints: Sequence[T], draw: float, limit: int = SHORTLIST) -> Sequence[T]:
    """Return so few endpoints that a pick among them costs the same in a tier of any size.

    Args:
        endpoints: All of them.
        draw: A random number from [0, 1): where the list is cut out.
        limit: Most endpoints that are returned, at least 1.

    Returns:
        All of them if they are no more than the limit, else so many neighbours of the sequence.
    """
    size = len(endpoints)
    if size <= limit:
        return endpoints
    start = int(draw * size)
    chosen = endpoints[start : start + limit]
    missing = limit - len(chosen)
    return [*chosen, *endpoints[:missing]] if missing else chosen


def _ident(endpoint: Named) -> str:
    return endpoint.id
