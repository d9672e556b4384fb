"""Tiers and routes from YAML, and all that is wrong with them. Called by local mode and tests.

A text is read as kubectl and the API server would read it, and refused where they would refuse it.
One bad document does not stop the others. No I/O: the caller reads the file.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from tiergarten_api import documents, labels, mistakes, problems, references
from tiergarten_api.documents import Document, Unreadable
from tiergarten_api.problems import Finding, Problem
from tiergarten_api.v1alpha1 import ModelTier, TierRoute

__all__ = ["Manifests", "Problem", "Resource", "parse"]

Resource = ModelTier | TierRoute

KINDS: Final[dict[str, type[Resource]]] = {"ModelTier": ModelTier, "TierRoute": TierRoute}


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a text holds.

    Attributes:
        tiers: The good tiers, in the text's order.
        routes: The good routes, in the text's order.
        problems: What is wrong, in the text's order. An object with an error is in none of the
            above; one with a warning is.
    """

    tiers: tuple[ModelTier, ...]
    routes: tuple[TierRoute, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems for which an object was refused."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def parse(text: str, file: str) -> Manifests:
    """Return the tiers and routes of a text, and what is wrong with it.

    Args:
        text: One or several YAML documents, or JSON.
        file: Its name, for problems.
    """
    found: list[Problem] = []
    kept: list[tuple[Document, Resource]] = []
    named: set[str] = set()
    for document in documents.read(text):
        if isinstance(document, Unreadable):
            found.append(_unreadable(document, file))
            continue
        resource, findings = _resource(document)
        named |= _tier_names(document.value)
        if resource is not None:
            findings = _conflicts(resource, [other for _, other in kept])
            kept += [] if findings else [(document, resource)]
        found += [problems.placed(finding, document, file) for finding in findings]
    for document, resource in kept:
        warnings = _warnings(resource, named)
        found += [problems.placed(finding, document, file) for finding in warnings]
    return Manifests(
        tiers=tuple(resource for _, resource in kept if isinstance(resource, ModelTier)),
        routes=tuple(resource for _, resource in kept if isinstance(resource, TierRoute)),
        problems=tuple(sorted(found, key=lambda problem: (problem.document, problem.line))),
    )


def _unreadable(document: Unreadable, file: str) -> Problem:
    path = problems.field_path(document.path)
    return Problem(file, document.number, document.line, path, "", document.message, document.cure)


def _tier_names(value: object) -> set[str]:
    """Return the name of a document's tier, good or not: a refused one is no news to its routes."""
    match value:
        case {"kind": "ModelTier", "metadata": {"name": str(name)}}:
            return {name}
    return set()


def _resource(document: Document) -> tuple[Resource | None, list[Finding]]:
    """Return a document's object, or what is wrong with it."""
    if document.value is None:
        return None, []  # kubectl skips a document that says nothing, too
    model = _model(document.value)
    if isinstance(model, Finding):
        return None, [model]
    try:
        # By alias only: the API server knows no snake_case.
        return model.model_validate(document.value, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, mistakes.findings(error, model, document)


def _model(value: object) -> type[Resource] | Finding:
    """Return what a document's object is, or why it is not read."""
    if not isinstance(value, dict):
        return Finding((), "is not an object", "begin it with apiVersion and kind")
    kind, version = value.get("kind"), value.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        name = "apiVersion" if isinstance(kind, str) else "kind"
        cure = labels.API_VERSION if name == "apiVersion" else "ModelTier or TierRoute"
        return Finding((name,), "is missing or no text", f"write {name}: {cure}")
    if kind in KINDS and version == labels.API_VERSION:
        return KINDS[kind]
    return _foreign(kind, version)


def _foreign(kind: str, version: str) -> Finding:
    """Return why an object of another kind or version is not read."""
    if kind in KINDS:
        message = f"is no version of {kind} that is known here"
        cure = f"write apiVersion: {labels.API_VERSION}"
        return Finding(("apiVersion",), message, cure, problems.shown(version, ()))
    shown = problems.shown(kind, ())
    if kind.endswith("List"):
        cure = "write its items as documents, each after a line of ---"
        return Finding(("kind",), "is a list of objects, which is not read", cure, shown)
    if near := difflib.get_close_matches(kind, KINDS, n=1):
        return Finding(("kind",), "is no kind that is known here", f"write kind: {near[0]}", shown)
    message = "is another kind of object, and only ModelTier and TierRoute are read here"
    return Finding(
        ("kind",), message, "take it out, and give it to kubectl in a file of its own", shown
    )


def _conflicts(resource: Resource, others: Sequence[Resource]) -> list[Finding]:
    """Return why an object cannot stand beside those before it."""
    name, namespace = resource.metadata.name, resource.metadata.namespace
    if any(type(other) is type(resource) and other.metadata.name == name for other in others):
        message = f"is {name}, as that of another {resource.kind} before it"
        return [Finding(("metadata", "name"), message, "give each a name of its own")]
    namespaces = {other.metadata.namespace for other in others} - {None}
    if namespace and namespaces and namespace not in namespaces:
        message = (
            f"is {namespace}, and that of the objects before it is {min(filter(None, namespaces))}"
        )
        cure = "put the objects of a namespace into a file of their own, or leave it out"
        return [Finding(("metadata", "namespace"), message, cure)]
    return [*_taken(resource, others)]


def _taken(resource: Resource, others: Sequence[Resource]) -> Iterator[Finding]:
    if isinstance(resource, ModelTier):
        tiers = [other for other in others if isinstance(other, ModelTier)]
        finding = references.name_taken(resource, tiers)
    else:
        routes = [other for other in others if isinstance(other, TierRoute)]
        finding = references.model_taken(resource, routes)
    if finding is not None:
        yield finding


def _warnings(resource: Resource, tiers: set[str]) -> Iterator[Finding]:
    if isinstance(resource, TierRoute):
        yield from references.missing_tiers(resource, tiers)
        yield from references.unreached_tiers(resource)
