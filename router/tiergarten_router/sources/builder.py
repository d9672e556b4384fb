"""Makes the template of a tier's replicas: the command line that a pod would have, for a process.

The program is llama.cpp's `llama-server` where there is one, else the one of this package.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tiergarten_api import llama
from tiergarten_api.v1alpha1 import ModelTierSpec
from tiergarten_router.sources.models import Model, Unusable, secret
from tiergarten_router.sources.template import Template


def program(given: Path | None) -> tuple[str, ...]:
    """Return how a llama-server is started.

    Args:
        given: The one that the user wants, or None.

    Raises:
        Unusable: If that one cannot be started.
    """
    if given is not None:
        found = shutil.which(str(given.absolute()))
        if found is None:
            raise Unusable("NotFound", f"--llama-server {given}: is no program; name one that is")
        return (found,)
    if found := shutil.which("llama-server"):
        return (found,)
    return (sys.executable, "-P", "-m", "tiergarten_llama.server")  # -P: nothing from here


def template(
    spec: ModelTierSpec, model: Model, server: Sequence[str], environ: Mapping[str, str]
) -> Template:
    """Return what a tier's replicas are started from.

    Args:
        spec: The tier.
        model: Its files.
        server: How a llama-server is started.
        environ: Where secrets are.

    Raises:
        Unusable: If a secret is missing.
    """
    arguments = llama.argv(
        spec,
        model.paths("Model")[0],
        host="127.0.0.1",
        port=0,
        projector=next(iter(model.paths("Projector")), None),
        draft=next(iter(model.paths("Draft")), None),
        adapters=model.paths("Adapter"),
    )
    return Template((*server, *arguments), tuple(_variables(spec, environ)), model.files)


def _variables(spec: ModelTierSpec, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for variable in spec.runtime.extra_env or ():
        ref = variable.value_from and variable.value_from.secret_key_ref
        yield variable.name, secret(ref, environ) if ref else variable.value or ""
