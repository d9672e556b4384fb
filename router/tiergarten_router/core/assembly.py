"""A whole answer put together from the events of a stream, in OpenAI's shape.

Upstream is always asked for a stream; a client that did not want one gets this.
"""

from dataclasses import dataclass, field
from typing import Any

from tiergarten_router import wire


@dataclass(slots=True)
class _Choice:
    """One choice as far as it has come."""

    index: int
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tools: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, choice: wire.Choice) -> None:
        if choice.finish_reason:
            self.finish_reason = choice.finish_reason
        if choice.logprobs:
            self._probabilities(choice.logprobs)
        if choice.text:
            self.text.append(choice.text)
        if choice.delta is not None:
            self._delta(choice.delta)

    def _delta(self, delta: wire.Delta) -> None:
        if delta.content:
            self.text.append(delta.content)
        if delta.reasoning_content:
            self.reasoning.append(delta.reasoning_content)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(call)

    def _probabilities(self, logprobs: dict[str, Any]) -> None:
        for name, entries in logprobs.items():
            if isinstance(entries, list):
                self.logprobs.setdefault(name, []).extend(entries)

    def _call(self, call: wire.ToolCall) -> None:
        made = self.tools.setdefault(
            call.index,
            {"id": "", "type": "function", "function": {"name": "", "arguments": ""}},
        )
        made["id"] = call.id or made["id"]
        made["type"] = call.type or made["type"]
        if call.function is not None:
            made["function"]["name"] += call.function.name or ""
            made["function"]["arguments"] += call.function.arguments or ""

    def chat(self) -> dict[str, Any]:
        tools = [self.tools[index] for index in sorted(self.tools)]
        text = "".join(self.text)
        message: dict[str, Any] = {"role": "assistant", "content": text or (None if tools else "")}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if tools:
            message["tool_calls"] = tools
        return self._around({"message": message})

    def completion(self) -> dict[str, Any]:
        return self._around({"text": "".join(self.text)})

    def _around(self, said: dict[str, Any]) -> dict[str, Any]:
        logprobs = {"logprobs": self.logprobs or None}
        return {"index": self.index, **said, **logprobs, "finish_reason": self.finish_reason}


class Assembly:
    """A whole answer in the making.

    Attributes:
        usage: Tokens, once told.
        timings: llama-server's measurements, once told.
        parts: The stream's bytes as they came, for who wants to tell it again.
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.usage: wire.Usage | None = None
        self.timings: wire.Timings | None = None
        self._first: wire.Chunk | None = None
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: wire.Chunk) -> None:
        """Take in one event."""
        if self._first is None:
            self._first = chunk
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.timings is not None:
            self.timings = chunk.timings
        for choice in chunk.choices:
            made = self._choices.get(choice.index)
            if made is None:
                made = self._choices[choice.index] = _Choice(choice.index)
            made.add(choice)

    @property
    def text(self) -> str:
        """What the first choice says."""
        first = self._choices.get(0)
        return "".join(first.text) if first else ""

    def chat(self) -> bytes:
        """Return the answer as the JSON of a chat completion."""
        return self._encoded("chat.completion", [c.chat() for c in self._ordered()])

    def completion(self) -> bytes:
        """Return the answer as the JSON of a legacy completion."""
        return self._encoded("text_completion", [c.completion() for c in self._ordered()])

    def _ordered(self) -> list[_Choice]:
        return [self._choices[index] for index in sorted(self._choices)]

    def _encoded(self, kind: str, choices: list[dict[str, Any]]) -> bytes:
        first = self._first or wire.Chunk()
        body = {
            "id": first.id or "",
            "object": kind,
            "created": first.created or 0,
            "model": first.model or "",
            "system_fingerprint": first.system_fingerprint,
            "choices": choices,
            "usage": self.usage,
        }
        return wire.encode(body | ({"timings": self.timings} if self.timings else {}))
