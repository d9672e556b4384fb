"""Says what was seen of a tier or a route: the whole status, computed anew each time.

Nothing is remembered but when a condition's status changed last, which is why the status before is
an argument.
"""

from tiergarten_operator.status.conditions import flipped
from tiergarten_operator.status.routes import of_route
from tiergarten_operator.status.tiers import Seen, of_tier

__all__ = ["Seen", "flipped", "of_route", "of_tier"]
