"""A parsed request as the rest of the router sees it: what to answer, and what it needs."""

import itertools
from collections.abc import Iterable, Iterator

from msgspec import UNSET, Raw, Struct, UnsetType

from tiergarten_router import wire
from tiergarten_router.core import score
from tiergarten_router.errors import InvalidRequest

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
NO_NEEDS: frozenset[str] = frozenset()
VISION = frozenset({"vision"})


class Query(Struct, frozen=True):
    """One query, bounded and checked.

    Attributes:
        id: The request's id, for headers, logs and events.
        path: The endpoint's path upstream.
        body: What is sent upstream, apart from `model` and the stream fields.
        text: What the score is taken from: the last thing that a user said.
        characters: Length of the whole prompt, tool schemas included.
        answer_tokens: The longest answer that was asked for, 0 when not said.
        background: Whether a chat UI asks for itself and not for a person.
        needs: Capabilities beyond text that a tier must have.
        streams: Whether the client asked for a stream.
        wants_usage: Whether the client asked for the stream's usage event.
    """

    id: str
    path: str
    body: wire.Body
    text: str
    characters: int
    answer_tokens: int = 0
    background: bool = False
    needs: frozenset[str] = NO_NEEDS
    streams: bool = False
    wants_usage: bool = False

    @property
    def model(self) -> str:
        """The name that the client asked for."""
        return self.body.model

    @property
    def embeds(self) -> bool:
        """Whether vectors are asked for, not text."""
        return self.path == EMBEDDINGS

    @property
    def is_deterministic(self) -> bool:
        """Whether the same answer may be given again to who did not ask for that.

        Vectors may, and text that is not drawn by chance. Calls of tools are for now, not for ever.
        """
        body = self.body
        if isinstance(body, wire.EmbeddingsBody):
            return True
        tools = isinstance(body, wire.ChatBody) and wire.raw_bytes(body.tools)
        return body.temperature == 0 and not tools

    def payload(self, model: str) -> bytes:
        """Return the body for a tier: its model name, always a stream, always with usage.

        A dropped request that is no stream goes on generating in llama-server, so every answer is
        streamed, and put together for a client that wants it whole.
        """
        body = self.body
        asked, body.model = body.model, model
        if not isinstance(body, wire.EmbeddingsBody):
            body.stream = True
            body.stream_options = wire.StreamOptions(include_usage=True)
        payload = wire.encode(body)
        body.model = asked
        return payload


def chat(ident: str, body: wire.ChatBody) -> Query:
    """Return the query of a chat body.

    Raises:
        InvalidRequest: If a part is nested too deeply, or an image is not in the body itself.
    """
    _tidy(body, ("logit_bias", "tools", "tool_choice", "response_format"))
    for index, message in enumerate(body.messages):
        if message.tool_calls is not UNSET:
            message.tool_calls = _checked(message.tool_calls, f"messages[{index}].tool_calls")
    text = _last_said(body.messages)
    return Query(
        ident,
        CHAT,
        body,
        text,
        sum(map(_length, body.messages)) + len(wire.raw_bytes(body.tools)),
        answer_tokens=body.max_completion_tokens or body.max_tokens or 0,
        background=text.startswith(score.BACKGROUND),
        needs=VISION if _shows_images(body.messages) else NO_NEEDS,
        streams=bool(body.stream),
        wants_usage=bool(body.stream_options and body.stream_options.include_usage),
    )


def completion(ident: str, body: wire.CompletionBody) -> Query:
    """Return the query of a legacy completion body.

    Raises:
        InvalidRequest: If a part is nested too deeply, or the prompt mixes texts and tokens.
    """
    _tidy(body, ("logit_bias",))
    texts = _texts(body.prompt, "prompt")
    return Query(
        ident,
        COMPLETIONS,
        body,
        texts[-1] if texts else "",
        sum(map(len, texts)) or len(body.prompt),
        answer_tokens=body.max_tokens or 0,
        streams=bool(body.stream),
        wants_usage=bool(body.stream_options and body.stream_options.include_usage),
    )


def embeddings(ident: str, body: wire.EmbeddingsBody) -> Query:
    """Return the query of an embeddings body.

    Raises:
        InvalidRequest: If the input mixes texts and tokens.
    """
    texts = _texts(body.input, "input")
    longest = max(map(len, texts)) if texts else len(body.input)
    return Query(ident, EMBEDDINGS, body, "", longest)


def _tidy(body: wire.Body, fields: Iterable[str]) -> None:
    for name in fields:
        raw = getattr(body, name)
        if raw is not UNSET:
            setattr(body, name, _checked(raw, name))


def _checked(part: Raw | UnsetType, param: str) -> Raw | UnsetType:
    """Return a part that is kept as it came, UNSET for `null`."""
    raw = wire.raw_bytes(part)
    if wire.is_too_deep(raw):
        raise InvalidRequest(
            f"{param} is nested deeper than {wire.DEPTH_MAX} levels; send it flatter.", param=param
        )
    return UNSET if raw == b"null" else part


def _texts(prompt: str | list[str | int], param: str) -> list[str]:
    """Return the texts of a prompt; none when it is token ids."""
    if isinstance(prompt, str):
        return [prompt]
    texts = [part for part in prompt if isinstance(part, str)]
    if not prompt or (texts and len(texts) < len(prompt)):
        raise InvalidRequest(
            f"{param} must be text, a list of texts or a list of token ids, and not empty.",
            param=param,
        )
    if len(texts) > wire.CHOICES_MAX and param == "prompt":
        raise InvalidRequest(
            f"{param} has {len(texts)} texts, and at most {wire.CHOICES_MAX} are answered at once.",
            param=param,
        )
    return texts


def _parts(message: wire.Message) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
    elif message.content:
        for part in message.content:
            if isinstance(part, wire.TextPart):
                yield part.text


def _length(message: wire.Message) -> int:
    content = message.content
    size = len(content) if isinstance(content, str) else sum(map(len, _parts(message)))
    return size + len(wire.raw_bytes(message.tool_calls)) + len(message.reasoning_content or "")


def _last_said(messages: list[wire.Message]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            content = message.content
            return content if isinstance(content, str) else "\n".join(_parts(message))
    return ""


def _shows_images(messages: list[wire.Message]) -> bool:
    shown = False
    for number, message in enumerate(messages):
        if not isinstance(message.content, list):
            continue
        for index, part in enumerate(message.content):
            if isinstance(part, wire.TextPart):
                continue
            shown = True
            if not part.image_url.url.startswith("data:"):
                raise InvalidRequest(
                    "Images must come inside the request as a data: URL; the router fetches none.",
                    param=f"messages[{number}].content[{index}].image_url",
                )
    return shown


def numbered(prefix: str) -> Iterator[str]:
    """Yield request ids: the prefix tells replicas apart, the number counts this one's requests."""
    return (f"{prefix}-{number:x}" for number in itertools.count(1))
