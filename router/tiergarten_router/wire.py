"""The JSON that crosses the router's hot doors, as typed structs: bodies in, events through.

A body is decoded into the struct of its door and encoded anew for the endpoint, so that only the
fields that stand here ever go upstream. `null` means the same as leaving a field out. Parts that
the router need not understand (tools, schemas) stay the bytes that they were, bounded in depth.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

DEPTH_MAX: Final = 64  # of JSON: deeper bodies only ever come from an attack
MESSAGES_MAX: Final = 1024
CHOICES_MAX: Final = 8  # each choice takes a slot
TOKENS_MAX: Final = 1 << 24  # no model has a longer window

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)

Count = Annotated[int, Meta(ge=1, le=TOKENS_MAX)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Stop = (
    Annotated[str, Meta(max_length=1024)]
    | Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=16)]
    | None
)


class StreamOptions(Struct, omit_defaults=True):
    """What a stream carries beside its content."""

    include_usage: bool | None = None


class ImageURL(Struct, omit_defaults=True):
    """An image inside a message."""

    url: str
    detail: str | None = None


class TextPart(Struct, tag_field="type", tag="text"):
    """A piece of text inside a message."""

    text: str


class ImagePart(Struct, tag_field="type", tag="image_url"):
    """An image inside a message; only `data:` URLs are taken, the router fetches nothing."""

    image_url: ImageURL


class Message(Struct, omit_defaults=True):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart | ImagePart] | None = None
    name: str | None = None
    tool_calls: Raw | UnsetType = UNSET
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Sampling(Struct, omit_defaults=True, kw_only=True):
    """Fields that chat and legacy completions share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=10)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=TOKENS_MAX)] | None = None
    min_p: Share | None = None
    n: Annotated[int, Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: Stop = None
    seed: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repeat_penalty: Annotated[float, Meta(ge=0, le=10)] | None = None
    logit_bias: Raw | UnsetType = UNSET
    ignore_eos: bool | None = None


class ChatBody(Sampling, omit_defaults=True, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1, max_length=MESSAGES_MAX)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Raw | UnsetType = UNSET
    tool_choice: Raw | UnsetType = UNSET
    parallel_tool_calls: bool | None = None
    response_format: Raw | UnsetType = UNSET
    reasoning_effort: Annotated[str, Meta(max_length=16)] | None = None


class CompletionBody(Sampling, omit_defaults=True, kw_only=True):
    """The body of `/v1/completions`; the prompt is text, texts, or token ids."""

    prompt: str | list[str | int]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class EmbeddingsBody(Struct, omit_defaults=True, kw_only=True):
    """The body of `/v1/embeddings`; the input is text, texts, or token ids."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | list[str | int]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | None = None


class QueryBody(Struct, omit_defaults=True, kw_only=True):
    """The body of `/api/query`."""

    query: Annotated[str, Meta(min_length=1)]
    mode: Annotated[str, Meta(min_length=1, max_length=256)] = "auto"
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=10)] | None = None
    use_context: bool | None = None
    stream: bool | None = None


Body = ChatBody | CompletionBody | EmbeddingsBody


class Function(Struct, omit_defaults=True):
    """A piece of a function call: the name comes first, the arguments come in parts."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, omit_defaults=True):
    """A piece of a tool call in a stream."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class Delta(Struct):
    """What an event of a chat stream adds to the answer."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Struct):
    """One choice of a streamed event, of chat (`delta`) or of legacy completions (`text`)."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class PromptDetails(Struct):
    """How much of a prompt was there already."""

    cached_tokens: int = 0


class Usage(Struct):
    """Tokens of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


class Timings(Struct):
    """llama-server's own measurements of one answer; milliseconds and tokens."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_n: int = 0
    predicted_ms: float = 0.0
    predicted_per_second: float = 0.0


class UpstreamError(Struct):
    """llama-server's error object."""

    message: str = ""
    type: str = ""
    code: int | str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class Chunk(Struct):
    """One event of a stream, or an error in its place."""

    choices: list[Choice] = []
    id: str | None = None
    model: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    error: UpstreamError | None = None


class ErrorBody(Struct):
    """The body of an answer that is not 200."""

    error: UpstreamError


decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_error = msgspec.json.Decoder(ErrorBody).decode
encode = msgspec.json.Encoder().encode


def raw_bytes(raw: Raw | UnsetType) -> bytes:
    """Return the bytes of a part that is kept as it came; none when it was left out."""
    return b"" if isinstance(raw, UnsetType) else bytes(raw)


def is_too_deep(raw: bytes, limit: int = DEPTH_MAX) -> bool:
    """Return whether JSON is nested deeper than `limit`; strings do not count."""
    depth = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif first in b"]}":
            depth -= 1
    return False
