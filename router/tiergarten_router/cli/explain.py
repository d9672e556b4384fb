"""`tiergarten explain`: what a running router would do with a query, as a table."""

from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

SECONDS = 10.0  # for an answer that asks no model


def main(text: str, model: str, url: str, console: Console) -> int:
    """Print what would become of a query; return the exit code: 0, or 1 if it could not be asked.

    Args:
        text: What a user would say.
        model: The model name that would be asked for.
        url: The router's base URL.
        console: Where it is printed.
    """
    body = {"query": text, "mode": model}
    try:
        found = httpx.post(f"{url.rstrip('/')}/v1/route/explain", json=body, timeout=SECONDS)
        told: dict[str, Any] = found.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = type(error).__name__
        console.print(f"{url}: no router answers there ({reason}); see --url", style="red")
        return 1
    if "candidates" not in told:
        message = told.get("error", {}).get("message", f"HTTP {found.status_code}")
        console.print(message, style="red", markup=False)
        return 1
    show(told, console)
    return 0


def show(told: dict[str, Any], console: Console) -> None:
    """Print an explanation."""
    reasons = ", ".join(told["reasons"]) or "no sign of difficulty"
    console.print(
        f"route {told['route']} ({told['strategy']}), score {told['score']} ({reasons}),"
        f" about {told['prompt_tokens']} tokens",
        markup=False,
        highlight=False,
    )
    table = Table()
    for heading in ("", "tier", "replica", "why", "breaker", "slots", "cost"):
        table.add_column(heading)
    for tier in told["candidates"]:
        cost = tier["cost_per_million_tokens"]
        shown = "" if cost is None else f"{cost:g}"
        table.add_row(_mark(tier), tier["tier"], "", tier["why"], "", "", shown)
        for replica in tier["replicas"]:
            slots = f"{replica['in_flight']}/{replica['slots']}"
            mark = _mark(replica) if tier["taken"] else ""
            table.add_row(mark, "", replica["id"], replica["why"], replica["breaker"], slots, "")
    for refused in told["refused"]:
        table.add_row("", refused["tier"], "", f"may not: {refused['why']}", "", "", "")
    console.print(table)
    if told["error"]:
        console.print(told["error"], style="red", markup=False)
    console.print(
        f"at most {told['max_attempts']} attempts; the next tier follows on"
        f" {', '.join(told['fallback_on'])}; {told['retries_left']} retries left",
        markup=False,
        highlight=False,
    )


def _mark(told: dict[str, Any]) -> str:
    return "->" if told["taken"] else ""
