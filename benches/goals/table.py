"""Goals, what was found, and whether that meets them, as rows of a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import NamedTuple


class Goal(NamedTuple):
    words: str
    limit: float

    def met(self, found: float) -> bool:
        return found <= self.limit if self.words == "at most" else found >= self.limit


def at_most(limit: float) -> Goal:
    return Goal("at most", limit)


def at_least(limit: float) -> Goal:
    return Goal("at least", limit)


def row(what: str, goal: Goal | None, values: list[float], places: int = 2) -> list[str]:
    """The median of the rounds, with the least and the largest, against a goal or none."""
    wanted = f"{goal.words} {goal.limit:.{places}f}" if goal else "none"
    if not values:
        return [what, wanted, "no runs", "not measured" if goal else ""]
    median = statistics.median(values)
    found = f"{median:.{places}f} ({min(values):.{places}f} to {max(values):.{places}f})"
    return [what, wanted, found, ("met" if goal.met(median) else "**missed**") if goal else ""]


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round, so that both had the machine as it was then."""
    return [a / b for a, b in zip(ours, theirs)]


def goals(rows: Iterable[list[str]]) -> str:
    return table(["what", "goal", "found", ""], rows)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
