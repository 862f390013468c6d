"""C-MAPSS FD001: cross-validation over the engines that ran until they failed.

For each seed the engines are dealt into folds, and each is cut where 7 to 145 cycles are left, as
those of the test set are. `detect` learns from the whole lives in the other folds, and is shown the
cut ones of this fold. The error is against the true remaining life, not capped.
"""

import csv
import math
import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from .data import DataError
from .program import Detect

FOLDS, SEEDS = 5, 5
# Cycles left at a cut: the range that is published of the test set.
LEFT_MIN, LEFT_MAX = 7, 145
# Cycles seen before a cut: as many as the shortest engine of the test set has.
SEEN_MIN = 31
# Cuts of each engine beside the one that counts: one cut an engine leaves much to chance.
MORE_CUTS = 20
# Engines of the first fold whose every fourth cycle is judged too, for a plot.
LIVES, LIFE_STEP = 6, 4

# The rows of an engine, as they were written but for its number.
Engines = dict[int, list[str]]


@dataclass(frozen=True)
class Cut:
    """An engine that was held out: cycles left where it was cut, in truth and as predicted."""

    unit: int
    left: int
    predicted: float


@dataclass
class Validation:
    """Cuts by seed; and of some engines the cycles left, in truth and as predicted, over their lives."""

    seeds: list[list[Cut]] = field(default_factory=list)
    more: list[list[Cut]] = field(default_factory=list)
    lives: dict[int, list[Cut]] = field(default_factory=dict)

    @property
    def errors(self) -> list[float]:
        return [rmse(cuts) for cuts in self.seeds]

    @property
    def median(self) -> float:
        return statistics.median(self.errors)

    @property
    def cuts(self) -> list[Cut]:
        return [cut for cuts in self.seeds for cut in cuts]


def rmse(cuts: list[Cut]) -> float:
    return math.sqrt(statistics.fmean((cut.predicted - cut.left) ** 2 for cut in cuts))


def read(file: Path) -> Engines:
    """Whole lives: cycles 1, 2, 3 and so on of each engine."""
    engines: Engines = {}
    for line in file.read_text().splitlines():
        if line.strip():
            unit, row = line.split(maxsplit=1)
            engines.setdefault(int(unit), []).append(row.strip())
    for unit, rows in engines.items():
        if [int(row.split()[0]) for row in rows] != list(range(1, len(rows) + 1)):
            raise DataError(f"`{file}`: expected cycles 1 to {len(rows)} of unit {unit} in order")
    if len(engines) < FOLDS:
        raise DataError(f"`{file}`: expected {FOLDS} engines or more, found {len(engines)}")
    return engines


def deal(lengths: dict[int, int], seed: int) -> tuple[list[list[int]], dict[int, list[int]]]:
    """Folds of engines, and the cycles left at the cuts of each: the one that counts, and the others."""
    chance = random.Random(seed)
    units = sorted(lengths)
    least = SEEN_MIN + LEFT_MIN
    for unit in units:
        if lengths[unit] < least:
            raise DataError(f"unit {unit}: expected {least} cycles or more, found {lengths[unit]}")
    chance.shuffle(units)
    left = {
        unit: [
            chance.randint(LEFT_MIN, min(LEFT_MAX, lengths[unit] - SEEN_MIN))
            for _ in range(1 + MORE_CUTS)
        ]
        for unit in sorted(lengths)
    }
    return [units[fold::FOLDS] for fold in range(FOLDS)], left


def write(file: Path, engines: Engines) -> None:
    lines = (f"{unit} {row}\n" for unit, rows in engines.items() for row in rows)
    file.write_text("".join(lines))


def judge(detect: Detect, learnt: Engines, shown: Engines, folder: Path) -> dict[int, float]:
    """What `detect` says of the engines shown, having learnt from the others: cycles left by unit."""
    # Results do not lie among recordings.
    recordings, results = folder / "in", folder / "out"
    recordings.mkdir(parents=True)
    write(recordings / "train_FD001.txt", learnt)
    write(recordings / "test_FD001.txt", shown)
    detect.run("cmapss", recordings, results)
    with open(results / "rul.csv", newline="") as text:
        said = {int(row["unit"]): float(row["rul"]) for row in csv.DictReader(text)}
    if said.keys() != shown.keys():
        raise DataError(f"`{results}/rul.csv`: expected units {sorted(shown)}, found {sorted(said)}")
    return said


def cut(engines: Engines, cuts: list[tuple[int, int]]) -> tuple[Engines, dict[int, tuple[int, int]]]:
    """Engines as they were with so many cycles left, under new numbers: which each is, and what was left."""
    meant = dict(enumerate(cuts, max(engines) + 1))
    return {new: engines[unit][: len(engines[unit]) - left] for new, (unit, left) in meant.items()}, meant


def validate(detect: Detect, engines: Engines, work: Path, say=print) -> Validation:
    found = Validation()
    for seed in range(SEEDS):
        folds, left = deal({unit: len(rows) for unit, rows in engines.items()}, seed)
        counted: list[Cut] = []
        more: list[Cut] = []
        for number, held in enumerate(folds):
            learnt = {unit: rows for unit, rows in engines.items() if unit not in held}
            units = spread(engines, held) if seed == number == 0 else []
            lives = [(unit, rest) for unit in units for rest in range(0, len(engines[unit]), LIFE_STEP)]
            first = [(unit, left[unit][0]) for unit in held]
            others = [(unit, rest) for unit in held for rest in left[unit][1:]]
            shown, meant = cut(engines, first + others + lives)
            said = judge(detect, learnt, shown, work / f"seed-{seed}-fold-{number}")
            cuts = [Cut(unit, rest, said[new]) for new, (unit, rest) in meant.items()]
            counted += cuts[: len(first)]
            more += cuts[len(first) : len(first) + len(others)]
            for each in cuts[len(first) + len(others) :]:
                found.lives.setdefault(each.unit, []).append(each)
        found.seeds.append(counted)
        found.more.append(more)
        say(f"C-MAPSS, seed {seed}: RMSE {rmse(counted):.2f}, of {MORE_CUTS} more cuts an engine {rmse(more):.2f}")
    return found


def spread(engines: Engines, held: list[int]) -> list[int]:
    """From the shortest life of a fold to the longest, evenly."""
    by_length = sorted(held, key=lambda unit: (len(engines[unit]), unit))
    count = min(LIVES, len(by_length))
    places = {round(index * (len(by_length) - 1) / max(count - 1, 1)) for index in range(count)}
    return [by_length[place] for place in sorted(places)]
