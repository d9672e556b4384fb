"""Where a tier's model comes from, and which of its files are loaded."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from tiergarten_api.v1alpha1.base import ListOf, Rule, Schema
from tiergarten_api.v1alpha1.meta import SecretKeyRef

MODEL_NAME_PATTERN = r"^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$"


def _ascii(text: str) -> str:
    # The pattern's \w is ASCII for the API server and Unicode for pydantic's engine.
    if not text.isascii():
        raise ValueError("may hold ASCII letters, digits and . _ - only")
    return text


# What Go's parser takes, which the API server asks: no control characters, whole escapes, a host of
# its characters and a port of digits. urllib would let most of the rest through.
_URL: Final = re.compile(
    r"""(?i:https?):
    (?: // (?:(?:[-\w.~:!$&'()*+,;=@]|%[0-9A-Fa-f]{2})*@)?
        (?P<host> \[[0-9A-Fa-f:.]+(?:%25[-\w.~]+)?\]
                | (?:[-\w.~!$&'()*+,;=<>"\]]|[^\x00-\x7f]|%(?:25|[89A-Fa-f][0-9A-Fa-f]))* )
        (?::[0-9]*)?
        (?=[/?]|$)
    )?
    (?:[^%?\x00-\x1f\x7f]|%[0-9A-Fa-f]{2})*
    (?:\?[^\x00-\x1f\x7f\#]*(?:\#(?:[^%\x00-\x1f\x7f]|%[0-9A-Fa-f]{2})*)?)?""",
    re.VERBOSE | re.ASCII,
)


def _is_http(url: str) -> bool:
    return _URL.fullmatch(url) is not None


def _has_host(url: str) -> bool:
    parts = _URL.fullmatch(url)
    return parts is not None and bool(parts["host"])


def _is_inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path


class HuggingFaceSource(Schema):
    """A repository on Hugging Face, or on a mirror that speaks its protocol."""

    repo: Annotated[str, AfterValidator(_ascii)] = Field(
        max_length=128,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Owner and name of the repository, such as org/model-GGUF.",
    )
    revision: str = Field(
        "main",
        max_length=128,
        description="A branch, tag or commit. The commit it resolves to is pinned in status.",
    )
    token_secret_ref: SecretKeyRef | None = Field(
        None,
        description="Access token for private or gated repositories. Left out: anonymous.",
    )


class HttpSource(Schema):
    """Files on a web server or object store."""

    url: Annotated[
        str,
        Rule(
            'isURL(self) && url(self).getScheme() in ["http", "https"]',
            "must be an http or https URL",
            check=_is_http,
            cure="start it with https://",
        ),
        Rule(
            '!isURL(self) || url(self).getHostname() != ""',
            "must name a host",
            check=_has_host,
            cure="write https://HOST/PATH",
        ),
    ] = Field(
        max_length=2048,
        description="Folder URL when several files are named, else the file's own URL.",
    )
    header_secret_ref: SecretKeyRef | None = Field(
        None,
        description="The value of an Authorization header to send, such as Bearer and a token. "
        "Left out: none.",
    )


class ImageSource(Schema):
    """An OCI image or artifact that holds the model and is mounted by the kubelet."""

    reference: Annotated[
        str,
        Rule(
            'self.matches("@sha256:[a-f0-9]{64}$")',
            "must be pinned by digest",
            check=lambda reference: _is_digest(reference.rpartition("@sha256:")),
            cure="end it with @sha256: and the digest's 64 hexadecimal digits",
        ),
    ] = Field(max_length=512, description="Image with its digest: NAME@sha256:DIGEST.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent",
        description="When the kubelet pulls it. A digest never changes, so once a node is enough.",
    )


def _is_digest(parts: tuple[str, str, str]) -> bool:
    _, separator, digest = parts
    return bool(separator) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")  # noqa: PLR2004 # 256 bits in hexadecimal


class VolumeSource(Schema):
    """A claim that somebody else fills; it is mounted read-only."""

    claim_name: str = Field(
        max_length=253,
        description="A PersistentVolumeClaim in the tier's namespace. Local mode maps it to a "
        "folder.",
    )
    sub_path: (
        Annotated[
            str,
            Rule(
                '!self.startsWith("/") && !self.contains("..")',
                'must be a relative path with no ".."',
                check=_is_inside,
                cure="write the folder's path from the volume's root, without a leading /",
            ),
        ]
        | None
    ) = Field(None, max_length=512, description="Folder in the volume. Left out: its root.")


class Source(Schema):
    """Where the files come from; exactly one of the four."""

    rules = (
        Rule(
            "[has(self.huggingFace), has(self.http), has(self.image), has(self.volume)]"
            ".filter(x, x).size() == 1",
            "exactly one of huggingFace, http, image or volume must be set",
            check=lambda source: sum(it is not None for _, it in source) == 1,
            cure="keep one of the four",
            reason="FieldValueInvalid",
        ),
    )

    hugging_face: HuggingFaceSource | None = Field(
        None, description="Fetched from Hugging Face or a mirror of it, verified and cached."
    )
    http: HttpSource | None = Field(
        None, description="Fetched from a web server or object store, verified and cached."
    )
    image: ImageSource | None = Field(
        None, description="Mounted from an OCI image by the kubelet; needs cache mode Image."
    )
    volume: VolumeSource | None = Field(
        None, description="Read from a claim that is already filled; nothing is fetched or cached."
    )


class FileSpec(Schema):
    """One GGUF file of the source."""

    name: Annotated[
        str,
        Rule(
            'self.endsWith(".gguf") && !self.startsWith("/") && !self.contains("..")',
            "must be a relative path ending in .gguf",
            check=lambda name: name.endswith(".gguf") and _is_inside(name),
            cure="write the file's path in the source, such as model-Q4_K_M.gguf",
        ),
    ] = Field(max_length=255, description="Path in the source, ending in .gguf.")
    role: Literal["Model", "Projector", "Draft", "Adapter"] = Field(
        "Model",
        description="What it is loaded as: Model, Projector (images and sound), Draft "
        "(speculative decoding) or Adapter (LoRA).",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[a-f0-9]{64}$",
        description="Checksum that the file must have, in hexadecimal. Left out: the one that the "
        "source publishes.",
    )


class ModelSpec(Schema):
    """The model: its name for clients, its source and its files."""

    rules = (
        Rule(
            "has(self.files) || has(self.source.image) || has(self.source.volume)",
            "files is required for huggingFace and http sources",
            check=lambda model: bool(model.files or model.source.image or model.source.volume),
            cure="name the .gguf file under files",
            field_path=".files",
        ),
        Rule(
            '!has(self.files) || self.files.exists(f, f.role == "Model")',
            "one file must have the role Model",
            check=lambda model: (
                model.files is None or any(file.role == "Model" for file in model.files)
            ),
            cure="leave role out for the model itself",
            field_path=".files",
        ),
    )

    name: Annotated[str, Rule("self == oldSelf", "model.name is immutable; make a new tier")] = (
        Field(
            min_length=1,
            max_length=96,
            pattern=MODEL_NAME_PATTERN,
            description="Model id that clients use; passed to llama-server as its alias.",
        )
    )
    source: Source = Field(description="Where the files come from; exactly one of the four.")
    files: (
        Annotated[tuple[FileSpec, ...], Field(min_length=1, max_length=64), ListOf("map", "name")]
        | None
    ) = Field(
        None,
        description="Files of the source, in load order; a sharded model names its first shard "
        "first. May be left out for image and volume, which then hold one model.",
    )
    require_checksum: bool = Field(
        default=True,
        description="Refuse to serve a file whose sha256 is neither given here nor published by "
        "the source. Binds fetched files only.",
    )
