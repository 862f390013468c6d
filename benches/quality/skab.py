"""SKAB's rules: rows from the 400th on, each anomalous or not, counted over all files."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

from .data import DataError

# The rows of a file that train or calibrate, and are not counted.
CALIBRATION = 400


@dataclass(frozen=True)
class Confusion:
    """Rows by what they are and what was said of them."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def f1(self) -> float | None:
        return share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def far(self) -> float | None:
        """False alarms: of the rows that are all right, those that were flagged."""
        return share(self.fp, self.fp + self.tn)

    @property
    def mar(self) -> float | None:
        """Missed: of the anomalous rows, those that were not flagged."""
        return share(self.fn, self.fn + self.tp)


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass
class Judged:
    """A recording: what it is, row by row, and what was said of it."""

    name: str
    truth: list[bool]
    scores: list[float] = field(default_factory=list)
    alarms: list[bool] = field(default_factory=list)

    @property
    def confusion(self) -> Confusion:
        return confusion(self.truth, self.alarms)

    @property
    def everything_flagged(self) -> Confusion:
        return confusion(self.truth, [True] * len(self.truth))


def confusion(truth: list[bool], alarms: list[bool]) -> Confusion:
    """Of a file, without its calibration rows."""
    pairs = list(zip(truth, alarms, strict=True))[CALIBRATION:]
    count = lambda true, alarm: sum(pair == (true, alarm) for pair in pairs)
    return Confusion(count(True, True), count(False, True), count(True, False), count(False, False))


def read(recordings: Path, results: Path) -> list[Judged]:
    """Every labelled file, in the order of their numbers, with its results under the same name."""
    files = sorted(recordings.glob("*.csv"), key=lambda file: (len(file.name), file.name))
    return [judged(file, results / file.name) for file in files]


def judged(recording: Path, result: Path) -> Judged:
    labelled, said = table(recording, ";"), table(result, ",")
    if "anomaly" not in labelled[0]:
        raise DataError(f"`{recording}`: no column `anomaly`, only {list(labelled[0])}")
    if [row["datetime"] for row in labelled] != [row["timestamp"] for row in said]:
        expected = f"expected the {len(labelled)} times of `{recording}`"
        raise DataError(f"`{result}`: {expected}, found {len(said)} rows")
    return Judged(
        recording.name,
        [float(row["anomaly"]) > 0.5 for row in labelled],
        [float(row["score"]) for row in said],
        [row["alarm"] == "1" for row in said],
    )


def table(file: Path, separator: str) -> list[dict[str, str]]:
    with open(file, newline="") as text:
        rows = list(csv.DictReader(text, delimiter=separator))
    if not rows:
        raise DataError(f"`{file}`: no rows")
    return rows


def pooled(files: list[Judged]) -> Confusion:
    return sum((each.confusion for each in files), Confusion())
