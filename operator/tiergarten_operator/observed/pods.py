"""What ails a pod, as one of the reasons of the condition Available."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tiergarten_fetch import outcomes
from tiergarten_operator.facts import Finding, Manifest

# Worst first: what a pod that fails in several ways is said to fail by.
ORDER: Final = ("OOMKilled", "ImagePull", "CrashLoop", "Unschedulable", "Loading")
IMAGE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
    }
)
UNSTARTED: Final = frozenset(
    {"CreateContainerError", "CreateContainerConfigError", "RunContainerError", "StartError"}
)
OOM: Final = "OOMKilled"
RESTARTS: Final = 3  # of a container that is up again, until it counts as a loop
MESSAGE_LENGTH: Final = 300

State = Mapping[str, Any]


def trouble(pods: Iterable[Manifest]) -> Finding | None:
    """Return the worst of what ails some pods; None if nothing does, or there are none."""
    found = [finding for pod in pods for finding in _findings(pod)]
    return min(found, key=lambda it: (ORDER.index(it.reason), it.message), default=None)


def is_ready(pod: Manifest) -> bool:
    """Return whether a pod answers."""
    return condition(pod, "Ready").get("status") == "True"


def condition(thing: Manifest, kind: str) -> State:
    """Return a condition of an object; empty if it has none of the kind."""
    listed = thing.get("status", {}).get("conditions") or ()
    return next((it for it in listed if it.get("type") == kind), {})


def states(pod: Manifest) -> Iterator[State]:
    """Yield the status of each container, init containers first."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def ended(container: State) -> State:
    """Return how a container ended, now or last; empty if it never did."""
    now: State = container.get("state", {}).get("terminated") or {}
    return now or container.get("lastState", {}).get("terminated") or {}


def name_of(pod: Manifest) -> str:
    """Return a pod's name."""
    return str(pod["metadata"]["name"])


def _findings(pod: Manifest) -> Iterator[Finding]:
    name = name_of(pod)
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "False":
        yield Finding("Unschedulable", f"pod {name}: {placed.get('message', 'no node takes it')}")
        return
    if is_ready(pod):
        return
    ailing = [finding for it in states(pod) if (finding := _ailment(name, it)) is not None]
    yield from ailing or [Finding("Loading", f"pod {name}: loads its model")]


def _ailment(pod: str, container: State) -> Finding | None:
    if container.get("ready"):
        return None
    waiting = container.get("state", {}).get("waiting") or {}
    last = ended(container)
    what = f"pod {pod}, container {container.get('name', '?')}"
    if waiting.get("reason") in IMAGE:
        said = _short(waiting.get("message", "")) or container.get("image", "")
        return Finding("ImagePull", f"{what}: {waiting['reason']}: {said}")
    if last.get("reason") == OOM:
        cure = "raise spec.resources memory, or lower contextLength, parallel or promptCacheMiB"
        return Finding(OOM, f"{what}: was killed, for it used more memory than its limit; {cure}")
    return _crash(what, container)


def _crash(what: str, container: State) -> Finding | None:
    waiting = container.get("state", {}).get("waiting") or {}
    last = ended(container)
    if waiting.get("reason") in UNSTARTED:
        said = _short(waiting.get("message", ""))
        return Finding("CrashLoop", f"{what}: cannot be started: {waiting['reason']}: {said}")
    loops = waiting.get("reason") == "CrashLoopBackOff"
    if loops or (last.get("exitCode") and container.get("restartCount", 0) >= RESTARTS):
        said = _last_words(str(last.get("message", ""))) or "see its log"
        return Finding("CrashLoop", f"{what}: ended with code {last.get('exitCode')}: {said}")
    return None


def _last_words(message: str) -> str:
    """Return what a container said last: a fetch's own words, or the end of a log."""
    outcome = outcomes.read(message)
    return outcome.message if outcome is not None else _short(message)


def _short(text: str) -> str:
    """Return the end of a text, where a program says why it ended."""
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH else f"…{line[-MESSAGE_LENGTH:]}"
