"""The Secret with the key that a tier's llama-servers ask for.

The key is the operator's own setting, which the router has too. Pods read Secrets of their own
namespace only, so each tier gets a copy.
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import SECRET, Manifest
from tiergarten_operator.settings import Settings

VARIABLE: Final = "LLAMA_API_KEY"
FIELD: Final = "key"


def build(tier: ModelTier, settings: Settings) -> Iterator[Manifest]:
    """Yield the Secret, if servers are to ask for a key."""
    if settings.llama_api_key is not None:
        value = base64.b64encode(settings.llama_api_key.get_secret_value().encode()).decode()
        yield child(SECRET, tier, names.secret(tier)) | {"type": "Opaque", "data": {FIELD: value}}


def variable(tier: ModelTier, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the environment variable by which a pod gets the key."""
    if settings.llama_api_key is not None:
        reference = {"secretKeyRef": {"name": names.secret(tier), "key": FIELD}}
        yield {"name": VARIABLE, "valueFrom": reference}


def annotation(settings: Settings) -> dict[str, str]:
    """Return the pod template's annotation that changes with the key."""
    if settings.llama_api_key is None:
        return {}
    return {names.KEY_DIGEST: names.digest(settings.llama_api_key.get_secret_value())}
