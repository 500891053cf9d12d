"""A session as a tree: its requests by path, with what a waterfall needs to be drawn. Pure.

A path names a place, not a call: `/plan/search` hangs under the latest earlier request of `/plan`; where there was
none, folders stand in for the missing steps, and later requests of a folder's path join it. No parent is ever recorded,
so this is what the paths and start times tell. Sources: Helicone's session paths (docs.helicone.ai/features/sessions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

__all__ = ["Row", "Step", "grow", "segments"]

MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Step:
    """One request of a session. latency_ms None: it is not known how long it took."""

    request_id: str
    path: str | None
    started_at: datetime
    latency_ms: float | None = None
    first_byte_ms: float | None = None
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the drawn tree: a request, or a folder (request_id None) with what is inside.

    start, wait and generation are shares (0 to 1) of the session's duration; wait is all there is where no first byte
    came. cost_usd of a folder sums the known costs inside; None when none is known.
    """

    depth: int
    name: str
    path: str
    request_id: str | None
    start: float
    wait: float
    generation: float
    duration_ms: float | None
    cost_usd: Decimal | None
    requests: int


def segments(path: str | None) -> tuple[str, ...]:
    """The steps of a path; empty ones are dropped, as is everything below MAX_DEPTH."""
    parts = tuple(part for part in (path or "").split("/") if part)
    return parts if len(parts) <= MAX_DEPTH else (*parts[: MAX_DEPTH - 1], "/".join(parts[MAX_DEPTH - 1 :]))


@dataclass(slots=True)
class _Node:
    """A step or folder. latest holds, by name, the child that later steps below that name hang under."""

    name: str
    path: str
    step: Step | None = None
    children: list[_Node] = field(default_factory=list)
    latest: dict[str, _Node] = field(default_factory=dict)


def grow(steps: Sequence[Step]) -> list[Row]:
    """The rows of the tree, top to bottom, each level ordered by start."""
    if not steps:
        return []
    ordered = sorted(steps, key=lambda step: (step.started_at, step.request_id))
    root = _Node("", "/")
    for step in ordered:
        _hang(root, step)
    begin = ordered[0].started_at
    total_ms = max(_since(begin, step) + (step.latency_ms or 0.0) for step in ordered) or 1.0
    rows: list[Row] = []
    for child in root.children:
        _flatten(child, 0, begin, total_ms, rows)
    return rows


def _hang(root: _Node, step: Step) -> None:
    where = segments(step.path)
    parent = root
    for at, name in enumerate(where[:-1], 1):
        if name not in parent.latest:
            folder = parent.latest[name] = _Node(name, "/" + "/".join(where[:at]))
            parent.children.append(folder)
        parent = parent.latest[name]
    node = _Node(where[-1] if where else "/", "/" + "/".join(where), step)
    known = parent.latest.get(node.name) if where else None
    if known is not None and known.step is None:
        known.children.append(node)  # the folder keeps its place: what lies below one path stays together
        return
    parent.children.append(node)
    if where:
        parent.latest[node.name] = node


def _flatten(node: _Node, depth: int, begin: datetime, total_ms: float, rows: list[Row]) -> list[Step]:
    """Append the rows of `node` and all below; return the steps among them."""
    at = len(rows)
    rows.append(_PLACE)
    steps = [node.step] if node.step is not None else []
    for child in node.children:
        steps += _flatten(child, depth + 1, begin, total_ms, rows)
    own = [node.step] if node.step is not None else steps
    start_ms = min(_since(begin, step) for step in own)
    ends = [_since(begin, step) + step.latency_ms for step in own if step.latency_ms is not None]
    duration_ms = max(ends) - start_ms if ends else None
    first_ms = node.step.first_byte_ms if node.step is not None else None
    known = duration_ms or 0.0
    wait_ms = known if first_ms is None else min(max(first_ms, 0.0), known)
    costs = [step.cost_usd for step in own if step.cost_usd is not None]
    rows[at] = Row(
        depth=depth,
        name=node.name,
        path=node.path,
        request_id=node.step.request_id if node.step is not None else None,
        start=start_ms / total_ms,
        wait=wait_ms / total_ms,
        generation=(known - wait_ms) / total_ms,
        duration_ms=duration_ms,
        cost_usd=sum(costs, Decimal(0)) if costs else None,
        requests=len(steps),
    )
    return steps


_PLACE = Row(0, "", "", None, 0.0, 0.0, 0.0, None, None, 0)


def _since(begin: datetime, step: Step) -> float:
    return (step.started_at - begin).total_seconds() * 1000
