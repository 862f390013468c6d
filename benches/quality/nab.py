"""NAB's rules: early detections in a window are worth most, those outside of any cost.

A threshold for all series and profiles is fixed, and not searched for as NAB's own runner does.
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from .data import DataError

# Rows that `detect` takes for anomalies score 0.968 or more, all others at most 0.5.
THRESHOLD = 0.9
# The first rows are never scored: this share of them, at most so many.
PROBATION_SHARE, PROBATION_MAX = 0.15, 750


@dataclass(frozen=True)
class Costs:
    """A profile: what a window that is found is worth, and what one missed and a false detection cost."""

    found: float
    missed: float
    false: float


@dataclass
class Judged:
    """A series, the windows of its anomalies as their first and last rows, and the score of each row."""

    name: str
    values: list[float]
    windows: list[tuple[int, int]]
    scores: list[float]

    @property
    def probation(self) -> int:
        return min(math.floor(PROBATION_SHARE * len(self.scores)), PROBATION_MAX)

    @property
    def detections(self) -> list[int]:
        rows = range(self.probation, len(self.scores))
        return [row for row in rows if self.scores[row] >= THRESHOLD]

    def window_of(self, row: int) -> int | None:
        inside = (w for w, (first, last) in enumerate(self.windows) if first <= row <= last)
        return next(inside, None)

    @property
    def found(self) -> int:
        return len({self.window_of(row) for row in self.detections} - {None})

    @property
    def false(self) -> list[int]:
        return [row for row in self.detections if self.window_of(row) is None]

    def raw(self, costs: Costs) -> float:
        """What the detections are worth, before it is put on NAB's scale."""
        best: list[float | None] = [None] * len(self.windows)
        worth = 0.0
        for row in self.detections:
            window = self.window_of(row)
            if window is None:
                worth += costs.false * self.behind(row)
            else:
                early = position_in(self.windows[window], row) * costs.found
                best[window] = early if best[window] is None else max(best[window], early)
        return worth + sum(-costs.missed if each is None else each for each in best)

    def behind(self, row: int) -> float:
        """A false detection, from 0 just behind a window to -1 far from it or before any."""
        passed = [(first, last) for first, last in self.windows if last < row]
        if not passed:
            return -1.0
        first, last = passed[-1]
        return sigmoid((row - last) / (last - first)) if last > first else -1.0


def sigmoid(place: float) -> float:
    """NAB's, from 1 to -1 and 0 at the end of a window."""
    return -1.0 if place > 3.0 else 2.0 / (1.0 + math.exp(5.0 * place)) - 1.0


def position_in(window: tuple[int, int], row: int) -> float:
    """1 at the first row of a window, almost 0 at its last."""
    first, last = window
    return sigmoid(-(last - row + 1) / (last - first + 1)) / sigmoid(-1.0)


def score(files: list[Judged], costs: Costs) -> float:
    """0 is to detect nothing, 100 to detect the first row of each window and no other."""
    windows = sum(len(each.windows) for each in files)
    raw = sum(each.raw(costs) for each in files)
    return 100.0 * (raw + windows * costs.missed) / (windows * (costs.found + costs.missed))


def profiles(file: Path) -> dict[str, Costs]:
    """By their names, in the order of the file."""
    costs = {name: each["CostMatrix"] for name, each in json.loads(file.read_text()).items()}
    return {
        name: Costs(each["tpWeight"], each["fnWeight"], each["fpWeight"])
        for name, each in costs.items()
    }


def read(root: Path, results: Path) -> list[Judged]:
    """Every series, in the order of their paths, with its results under the same path."""
    labels = json.loads((root / "labels/combined_windows.json").read_text())
    found = []
    for file in sorted((root / "data").glob("*/*.csv")):
        name = str(file.relative_to(root / "data"))
        if name not in labels:
            raise DataError(f"no windows of `{name}` in labels/combined_windows.json")
        series, said = rows_of(file), rows_of(results / name)
        times = [row["timestamp"] for row in series]
        if times != [row["timestamp"] for row in said]:
            expected = f"expected the {len(times)} times of `{file}`"
            raise DataError(f"`{results / name}`: {expected}, found {len(said)} rows")
        values = [float(row["value"]) for row in series]
        scores = [float(row["score"]) for row in said]
        windows = [rows_between(times, first, last, name) for first, last in labels[name]]
        found.append(Judged(name, values, sorted(windows), scores))
    if not any(each.windows for each in found):
        raise DataError(f"no windows of anomalies in the series below `{root / 'data'}`")
    return found


def rows_between(times: list[str], first: str, last: str, name: str) -> tuple[int, int]:
    """The first and the last row of a window; its times have fractions of seconds that rows lack."""
    seconds = [time[:19] for time in times]
    for time in (first, last):
        if time[:19] not in seconds:
            raise DataError(f"`{name}`: a window begins or ends at {time}, where no row is")
    return seconds.index(first[:19]), len(seconds) - 1 - seconds[::-1].index(last[:19])


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as text:
        return list(csv.DictReader(text))
