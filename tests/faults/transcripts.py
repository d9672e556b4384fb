"""What an SSE text says: tests of the upstream and of the router read streamed answers with it."""

import json
from typing import Any


def payloads(text: str) -> list[Any]:
    """Return the JSON of every event but `[DONE]`."""
    lines = (line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(text: str) -> str:
    """Return the content of all events of a chat stream, joined."""
    choices = [choice for event in payloads(text) for choice in event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
