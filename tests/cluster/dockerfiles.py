"""Reads Dockerfiles, as far as the project's own go: instructions by stage."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from kit.locks import PROJECT

FILES = ("operator/Dockerfile", "operator/llama.Dockerfile", "router/Dockerfile")
IMAGES = {
    "operator": "operator/Dockerfile",
    "fetch": "operator/Dockerfile",
    "llama": "operator/llama.Dockerfile",
    "router": "router/Dockerfile",
}


@dataclass
class Stage:
    """What stands between one FROM and the next.

    Attributes:
        base: What it starts from.
        name: Its name, after AS.
        instructions: Each instruction and its words, in order.
    """

    base: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """Return the words of each instruction of a kind."""
        return [words for name, words in self.instructions if name == instruction]

    def one(self, instruction: str) -> str:
        """Return the words of the only instruction of a kind."""
        (words,) = self.all(instruction)
        return words

    def words(self, instruction: str) -> list[str]:
        """Return the words of an instruction in JSON; none if it is not there."""
        return [str(it) for found in self.all(instruction) for it in json.loads(found)]

    def pairs(self, instruction: str) -> dict[str, str]:
        """Return what the instructions of a kind set, by name."""
        texts = (word for words in self.all(instruction) for word in shlex.split(words))
        return {name: value for name, _, value in (text.partition("=") for text in texts)}

    def copies(self) -> list[tuple[str, list[str], str]]:
        """Return for each COPY the stage that it is from, the sources, and the target."""
        found = []
        for words in self.all("COPY"):
            options = [it for it in words.split() if it.startswith("--")]
            paths = [it for it in words.split() if not it.startswith("--")]
            stage = next((it[7:] for it in options if it.startswith("--from=")), "")
            found.append((stage, paths[:-1], paths[-1]))
        return found


def read(file: str) -> tuple[dict[str, str], dict[str, Stage]]:
    """Return a Dockerfile's arguments before the first stage, and its stages by name."""
    text = (PROJECT / file).read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        instruction, _, words = line.partition(" ")
        if instruction == "FROM":
            base, _, name = words.split()
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].instructions.append((instruction, words))
        else:
            name, _, value = words.partition("=")
            arguments[name] = value
    return arguments, {stage.name: stage for stage in stages}


def final(image: str) -> Stage:
    """Return the stage that becomes one of the project's images."""
    return read(IMAGES[image])[1][image]


def lock(image: str) -> Path:
    """Return the lock that an image's packages come from."""
    _, stages = read(IMAGES[image])
    ((_, (source,), _), _) = stages[f"{image}-packages"].copies()
    return PROJECT / source
