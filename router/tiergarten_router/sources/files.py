"""Reads the user's YAML files as one: what `kubectl apply -f A -f B` would do with them.

Several files are read as one text, so that a route may name a tier of another file and two tiers
may not share a name; problems are put back to the file and line that they are in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Final

from tiergarten_api import documents, extras, manifests
from tiergarten_api.manifests import Problem
from tiergarten_api.v1alpha1 import ModelTier, TierRoute

SEPARATOR: Final = "\n---\n"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the files say.

    Attributes:
        tiers: In the order of the files.
        routes: In the order of the files.
        errors: Why nothing of it may be used, a line each; empty when it may.
        warnings: What to know about it, a line each.
    """

    tiers: tuple[ModelTier, ...] = ()
    routes: tuple[TierRoute, ...] = ()
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A file and what it holds."""

    name: str
    text: str


def read(paths: Iterable[Path]) -> Contents:
    """Return what the files say, with all that is wrong with them."""
    texts, errors = [], []
    for path in paths:
        try:
            texts.append(Text(str(path), path.read_text(encoding="utf-8")))
        except OSError as error:
            errors.append(f"{path}: error: {error.strerror}; name a YAML file that can be read")
        except UnicodeDecodeError:
            errors.append(f"{path}: error: is no UTF-8 text; name a YAML file")
    contents = parse(texts)
    return replace(contents, errors=(*errors, *contents.errors))


def parse(texts: Sequence[Text]) -> Contents:
    """Return what some texts say together."""
    plain = [text.text.removeprefix("\ufeff") for text in texts]
    found = manifests.parse(SEPARATOR.join(plain), "")
    problems = [
        (problem.severity, str(_placed(problem, texts, plain))) for problem in found.problems
    ]
    errors = [line for severity, line in problems if severity == "error"]
    errors += [line for tier in found.tiers for line in _refused_options(tier)]
    if texts and not found.tiers and not errors:
        names = ", ".join(text.name for text in texts)
        errors.append(f"{names}: error: there is no ModelTier in it; write one, as in the README")
    warnings = [line for severity, line in problems if severity == "warning"]
    return Contents(found.tiers, found.routes, tuple(errors), tuple(warnings))


def _placed(problem: Problem, texts: Sequence[Text], plain: Sequence[str]) -> Problem:
    """Return a problem of the joined text as one of the file that it is in."""
    lines = [text.count("\n") + SEPARATOR.count("\n") for text in plain]
    first = [0, *accumulate(lines)]
    index = max(i for i in range(len(texts)) if first[i] < problem.line)
    before = sum(1 for text in plain[:index] for _ in documents.read(text))
    return replace(
        problem,
        file=texts[index].name,
        line=problem.line - first[index],
        document=problem.document - before,
    )


def _refused_options(tier: ModelTier) -> Iterable[str]:
    try:
        extras.check(tier.spec.runtime)
    except extras.RefusedOption as error:
        yield f"tier {tier.metadata.name}: error: {error}"
