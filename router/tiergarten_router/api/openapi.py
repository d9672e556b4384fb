"""The hot doors in the OpenAPI document: FastAPI never sees them, clients should."""

from typing import Any, Final

import msgspec

from tiergarten_router import wire

REF: Final = "#/components/schemas/{name}"
DOORS: Final[dict[str, tuple[type, str, str]]] = {
    "/v1/chat/completions": (wire.ChatBody, "openai", "Answer a conversation"),
    "/v1/completions": (wire.CompletionBody, "openai", "Continue a text"),
    "/v1/embeddings": (wire.EmbeddingsBody, "openai", "Vectors of texts"),
    "/v1/route/explain": (wire.ChatBody, "tiergarten", "What would become of a query, and why"),
    "/api/query": (wire.QueryBody, "tiergarten", "Answer a question and say how"),
}
STREAMS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "/v1/events/sse": (
        "events", "Events as they happen", ("kind", "tier", "query", "epoch", "since", "latest")
    ),
    "/v1/answers/{id}/stream": ("openai", "The rest of an answer that can be resumed", ()),
}  # fmt: skip
ERROR: Final = {
    "description": "An error in OpenAI's shape, with a stable code",
    "content": {"application/json": {"schema": {"$ref": REF.format(name="Error")}}},
}
CACHE: Final = {
    "name": "X-Tiergarten-Cache",
    "in": "header",
    "description": "What the answer cache may do; without it: use, if the answer is deterministic",
    "schema": {"type": "string", "enum": ["use", "refresh", "bypass"]},
}
ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": "string"},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}


def extend(document: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's document with the hot doors added."""
    kinds = [kind for kind, _, _ in DOORS.values()]
    bodies, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= components | {"Error": ERROR_SCHEMA}
    for (path, (_, tag, summary)), body in zip(DOORS.items(), bodies, strict=True):
        document["paths"][path] = {
            "post": {
                "tags": [tag],
                "summary": summary,
                "parameters": [CACHE],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": body}},
                },
                "responses": {"200": _answer(path), "4XX": ERROR, "5XX": ERROR},
            }
        }
    for path, (tag, summary, params) in STREAMS.items():
        document["paths"][path] = {"get": _stream(path, tag, summary, params)}
    return document


def _stream(path: str, tag: str, summary: str, params: tuple[str, ...]) -> dict[str, Any]:
    text = {"type": "string"}
    listed: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "schema": text} for name in params
    ]
    listed.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": text})
    if "{id}" in path:
        listed.append({"name": "id", "in": "path", "required": True, "schema": text})
    stream = {"description": "Events", "content": {"text/event-stream": {"schema": text}}}
    answers = {"200": stream, "4XX": ERROR, "5XX": ERROR}
    return {"tags": [tag], "summary": summary, "parameters": listed, "responses": answers}


def _answer(path: str) -> dict[str, Any]:
    anything: dict[str, Any] = {"schema": {"type": "object"}}
    content = {"application/json": anything}
    if path not in {"/v1/embeddings", "/v1/route/explain"}:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": "The answer", "content": content}
