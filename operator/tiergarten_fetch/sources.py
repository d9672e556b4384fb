"""What a model's source offers: one URL a file, with the size and sha256 that it publishes.

`wanted` is pure; `Asking` asks the source.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import httpx

from tiergarten_api.v1alpha1 import FileSpec, ModelSpec
from tiergarten_fetch import hops, retries, web
from tiergarten_fetch.errors import ChecksumMismatch, FetchFailed, Interrupted
from tiergarten_fetch.hops import Secret
from tiergarten_fetch.options import Options
from tiergarten_fetch.results import Doing, Progress, Report
from tiergarten_fetch.web import Web

SHA256 = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
RANGE_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
T = TypeVar("T")
NO_HEAD = frozenset({400, 403, 405, 501})


@dataclass(frozen=True)
class Wanted:
    """A file and where it is.

    Attributes:
        name: The file's name in the spec.
        role: Model, Projector, Draft or Adapter.
        url: Where to get it.
        secret: What the URL's origin wants to see, or None.
        sha256: The one that the spec gives, or None.
    """

    name: str
    role: str
    url: httpx.URL
    secret: Secret | None
    sha256: str | None


@dataclass(frozen=True)
class Offered:
    """A file as its source offers it.

    Attributes:
        file: What was asked for.
        size: In bytes; None if the source does not say.
        sha256: Given by the spec or else published by the source; None if neither.
    """

    file: Wanted
    size: int | None
    sha256: str | None


def secret_of(model: ModelSpec, options: Options) -> Secret | None:
    """Return the header that the model's source wants to see, or None."""
    if model.source.hugging_face is not None:
        return Secret.bearer(options.token) if options.token else None
    return Secret.header(options.header) if options.header else None


def wanted(model: ModelSpec, revision: str | None, options: Options) -> tuple[Wanted, ...]:
    """Return the model's files and where they are.

    Args:
        model: With a huggingFace or an http source.
        revision: The hub's commit; None for an http source.
        options: The hub's endpoint and the secrets.
    """
    secret = secret_of(model, options)
    files: Sequence[FileSpec] = model.files or ()
    if model.source.hugging_face is not None:
        base = hops.parse(options.endpoint.rstrip("/"), "HF_ENDPOINT")
        repo = model.source.hugging_face.repo
        urls = [_below(base, f"{repo}/resolve/{revision}/{quote(file.name)}") for file in files]
    elif model.source.http is not None:
        base = hops.parse(model.source.http.url, "model.source.http.url")
        own = len(files) == 1 and not base.path.endswith("/")
        urls = [base] if own else [_below(base, quote(file.name)) for file in files]
    else:
        raise FetchFailed("model.source: has nothing to fetch; name a huggingFace or http source")
    return tuple(
        Wanted(file.name, str(file.role), url, secret, file.sha256)
        for file, url in zip(files, urls, strict=True)
    )


@dataclass(frozen=True)
class Asking:
    """Asks a source about its files, again where a try fails.

    Args:
        web: The HTTP client.
        options: Endpoint, secrets, pauses.
        report: Called with why something is asked for again.
    """

    web: Web
    options: Options
    report: Report

    async def commit(self, model: ModelSpec) -> str:
        """Return the commit that the revision of a model of the hub stands for.

        Raises:
            FetchError: If the hub does not know it, or answers with something else.
        """
        hub = model.source.hugging_face
        assert hub is not None  # noqa: S101 -- the caller asks only for models of the hub
        revision = self.options.revision or hub.revision
        if COMMIT.fullmatch(revision):
            return revision
        base = hops.parse(self.options.endpoint.rstrip("/"), "HF_ENDPOINT")
        url = _below(base, f"api/models/{hub.repo}/revision/{quote(revision, safe='')}")
        secret = secret_of(model, self.options)
        body = await self._repeat(lambda: self.web.body(url, secret), hub.repo)
        try:
            found = str(json.loads(body)["sha"])
        except (ValueError, KeyError, TypeError) as error:
            raise FetchFailed(f"{hops.shown(url)}: answers without a commit") from error
        if not COMMIT.fullmatch(found):
            raise FetchFailed(f"{hops.shown(url)}: answers with a commit that is none")
        return found

    async def offers(self, model: ModelSpec, revision: str | None) -> list[Offered]:
        """Return size and sha256 of all the model's files, without their bytes.

        Args:
            model: With a huggingFace or an http source.
            revision: The commit that the hub must answer from; None for an http source.

        Raises:
            FetchError: If the source does not have a file, or publishes no sha256 although one is
                needed.
        """
        found = []
        for file in wanted(model, revision, self.options):
            offer = await self._repeat(partial(self._offer, file, revision), file.name)
            if offer.sha256 is None and model.require_checksum:
                raise ChecksumMismatch(
                    f"model.files[{file.name}].sha256: neither given nor published by the source; "
                    "give it, or set model.requireChecksum to false"
                )
            found.append(offer)
        return found

    async def _offer(self, file: Wanted, revision: str | None) -> Offered:
        answers = await self.web.head(file.url, file.secret)
        size = _first(_size(answer) for answer in answers)
        if answers[-1].status_code in NO_HEAD:  # such as a URL that is signed for GET
            async with self.web.get(file.url, file.secret, {"Range": "bytes=0-0"}) as answer:
                answers = [answer]
                size = _total(answer)
        else:
            web.check(answers[-1], sent_secret=file.secret is not None)
        _same_commit(file, answers, revision)
        sha256 = file.sha256 or _first(_published(answer, file.url) for answer in answers)
        return Offered(file, size, sha256)

    async def _repeat(self, ask: Callable[[], Awaitable[T]], name: str) -> T:
        def failed(failure: Interrupted) -> None:
            self.report(Progress(name, 0, None, Doing.RETRYING, failure.message))

        options = self.options
        return await retries.repeat(ask, options.backoff, options.chance, failed=failed)


def _same_commit(file: Wanted, answers: Sequence[httpx.Response], revision: str | None) -> None:
    told = _first(answer.headers.get("x-repo-commit") for answer in answers)
    if revision is not None and told is not None and told != revision:
        raise Interrupted(
            f"{hops.shown(file.url)}: comes from another commit than {revision}; "
            "the hub or its mirror is out of step"
        )


def _published(answer: httpx.Response, first: httpx.URL) -> str | None:
    # Not of another origin: a content network's 64 digits may be another kind of hash.
    if not hops.same_origin(answer.request.url, first):
        return None
    for name in ("x-linked-etag", "etag"):
        if match := SHA256.fullmatch(answer.headers.get(name, "")):
            return match[1]
    return None


def _size(answer: httpx.Response) -> int | None:
    headers: Mapping[str, str] = answer.headers
    value = headers.get("x-linked-size")
    if value is None and answer.status_code == HTTPStatus.OK:
        value = headers.get("content-length")
    return int(value) if value is not None and value.isdecimal() else None


def _total(answer: httpx.Response) -> int | None:
    if answer.status_code == HTTPStatus.OK:
        return _size(answer)
    match = RANGE_TOTAL.fullmatch(answer.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)


def _below(base: httpx.URL, path: str) -> httpx.URL:
    raw = base.raw_path.partition(b"?")
    joined = raw[0].rstrip(b"/") + b"/" + path.encode()
    return base.copy_with(raw_path=joined + raw[1] + raw[2])
