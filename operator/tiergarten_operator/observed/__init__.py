"""Reads live objects: where the model is, how far the Deployment is, what ails the pods.

The only part that looks into what the API server sends; whatever is missing there counts as not
known yet.
"""

from tiergarten_operator.observed.fetches import asks, ended, fetch
from tiergarten_operator.observed.servings import serving

__all__ = ["asks", "ended", "fetch", "serving"]
