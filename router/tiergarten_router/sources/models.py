"""Where the models of local tiers come from: folders in place of claims, and a cache.

`Models.get` gives a tier's files or raises `Unusable`, whose reasons are those of the operator's
conditions.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

import tiergarten_fetch
from tiergarten_api.gguf import Header
from tiergarten_api.v1alpha1 import ModelSpec, ModelTier, SecretKeyRef
from tiergarten_fetch import FetchError, Options, Progress, options
from tiergarten_router.sources.template import File


class Unusable(Exception):
    """A tier that cannot run, for now or until its user does something.

    Args:
        reason: One word, as in the operator's conditions.
        message: What is wrong and the cure.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose files are all there and whole.

    Attributes:
        files: The files, in load order.
        roles: What each is loaded as.
        header: What the model's header says.
    """

    files: tuple[File, ...]
    roles: tuple[str, ...]
    header: Header

    def paths(self, role: str) -> list[str]:
        """Return the paths of the files with a role."""
        pairs = zip(self.files, self.roles, strict=True)
        return [str(file.path) for file, its in pairs if its == role]


@dataclass(frozen=True, slots=True)
class Models:
    """Where models are looked for, and where fetched ones are kept.

    Attributes:
        volumes: A folder for each claim.
        cache: The folder of fetched models; made when it is needed.
        environ: Where secrets are.
    """

    volumes: Mapping[str, Path] = field(default_factory=dict)
    cache: Path = Path()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def missing(self, tiers: Iterable[ModelTier]) -> tuple[str, ...]:
        """Return a line for each claim that has no folder."""
        claims: dict[str, list[str]] = {}
        for tier in tiers:
            if volume := tier.spec.model.source.volume:
                claims.setdefault(volume.claim_name, []).append(tier.metadata.name)
        return tuple(
            f"claim {claim} of {', '.join(names)}: error: no folder stands for it; "
            f"add --volume {claim}=DIR"
            for claim, names in claims.items()
            if claim not in self.volumes
        )

    async def get(self, spec: ModelSpec, progress: Callable[[Progress], None]) -> Model:
        """Return a tier's model, fetched if need be.

        Args:
            spec: Which one.
            progress: Called often while files come.

        Raises:
            Unusable: If there is none.
        """
        try:
            found = await self._result(spec, progress)
            files = tuple(File.at(file.path) for file in found.files)
        except FetchError as error:
            raise Unusable(error.reason, error.message) from error
        except OSError as error:
            raise Unusable("FetchFailed", f"{error.filename}: {error.strerror}") from error
        return Model(files, tuple(file.role for file in found.files), found.header)

    async def _result(
        self, spec: ModelSpec, progress: Callable[[Progress], None]
    ) -> tiergarten_fetch.Result:
        if volume := spec.source.volume:
            folder = self.volumes[volume.claim_name] / (volume.sub_path or "")
            return await tiergarten_fetch.locate(spec, folder, progress=progress)
        if spec.source.image:
            raise Unusable(
                "ImageVolumesUnsupported",
                "spec.model.source.image: images are mounted by a cluster's nodes; locally, unpack "
                "it into a folder and use source.volume with --volume",
            )
        return await tiergarten_fetch.fetch(
            spec, self.cache, options=self._options(spec), progress=progress
        )

    def _options(self, spec: ModelSpec) -> Options:
        """Return how to fetch: the fetcher's own variables, or a Secret's stand-in."""
        base = options.from_environment(self.environ)
        hub, http = spec.source.hugging_face, spec.source.http
        token, header = base.token, None
        if hub and hub.token_secret_ref:
            token = SecretStr(secret(hub.token_secret_ref, self.environ, "HF_TOKEN"))
        if http and http.header_secret_ref:  # never to a source that does not ask for it
            name = "TIERGARTEN_FETCH_HEADER"
            header = SecretStr(secret(http.header_secret_ref, self.environ, name))
        return replace(base, token=token, header=header, loopback=True)


def secret(ref: SecretKeyRef, environ: Mapping[str, str], also: str = "") -> str:
    """Return what stands for a key of a Secret: an environment variable.

    Args:
        ref: The key.
        environ: The environment.
        also: Another variable that will do.

    Raises:
        Unusable: If there is none.
    """
    words = f"TIERGARTEN_SECRET_{ref.name}_{ref.key}".upper()
    name = "".join(letter if letter.isalnum() else "_" for letter in words)
    value = environ.get(name) or environ.get(also)
    if not value:
        either = f"{name} or {also}" if also else name
        message = f"secret {ref.name}, key {ref.key}: set the environment variable {either}"
        raise Unusable("SecretMissing", message)
    return value
