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


def deal(lengths: dict[int, int], seed: int) -> tuple[list[list[int]], dict[int, int]]:
    """Folds of engines, and the cycles left at the cut of each."""
    chance = random.Random(seed)
    units = sorted(lengths)
    least = SEEN_MIN + LEFT_MIN
    for unit in units:
        if lengths[unit] < least:
            raise DataError(f"unit {unit}: expected {least} cycles or more, found {lengths[unit]}")
    chance.shuffle(units)
    left = {
        unit: chance.randint(LEFT_MIN, min(LEFT_MAX, lengths[unit] - SEEN_MIN))
        for unit in sorted(lengths)
    }
    return [units[fold::FOLDS] for fold in range(FOLDS)], left


def write(file: Path, engines: Engines) -> None:
    lines = (f"{unit} {row}\n" for unit, rows in engines.items() for row in rows)
    file.write_text("".join(lines))


def judge(detect: Detect, learnt: Engines, shown: Engines, folder: Path) -> dict[int, float]:
    """What `detect` says of the engines shown, having learnt from the others: cycles left by unit."""
    both = learnt.keys() & shown.keys()
    assert not both, f"{both} would be judged by a model that has seen them fail"
    folder.mkdir(parents=True)
    write(folder / "train_FD001.txt", learnt)
    write(folder / "test_FD001.txt", shown)
    detect.run("cmapss", folder, folder)
    with open(folder / "rul.csv", newline="") as text:
        said = {int(row["unit"]): float(row["rul"]) for row in csv.DictReader(text)}
    if said.keys() != shown.keys():
        raise DataError(f"`{folder}/rul.csv`: expected units {sorted(shown)}, found {sorted(said)}")
    return said


def prefixes(engines: Engines, units: list[int]) -> tuple[Engines, dict[int, tuple[int, int]]]:
    """Engines as they were at every fourth cycle, under new numbers: which each is, and what was left."""
    shown: Engines = {}
    meant: dict[int, tuple[int, int]] = {}
    for unit in units:
        rows = engines[unit]
        for seen in range(len(rows), 0, -LIFE_STEP):
            number = max(engines) + len(shown) + 1
            shown[number], meant[number] = rows[:seen], (unit, len(rows) - seen)
    return shown, meant


def validate(detect: Detect, engines: Engines, work: Path, say=print) -> Validation:
    found = Validation()
    for seed in range(SEEDS):
        folds, left = deal({unit: len(rows) for unit, rows in engines.items()}, seed)
        cuts: list[Cut] = []
        for number, held in enumerate(folds):
            learnt = {unit: rows for unit, rows in engines.items() if unit not in held}
            shown = {unit: engines[unit][: len(engines[unit]) - left[unit]] for unit in sorted(held)}
            first = seed == 0 and number == 0
            chosen = spread(engines, held) if first else []
            over_lives, meant = prefixes(engines, chosen)
            said = judge(detect, learnt, shown | over_lives, work / f"seed-{seed}-fold-{number}")
            cuts += [Cut(unit, left[unit], said[unit]) for unit in shown]
            for extra, (unit, remains) in meant.items():
                found.lives.setdefault(unit, []).append(Cut(unit, remains, said[extra]))
        found.seeds.append(cuts)
        say(f"C-MAPSS, seed {seed}: RMSE {rmse(cuts):.2f}")
    return found


def spread(engines: Engines, held: list[int]) -> list[int]:
    """From the shortest life of a fold to the longest, evenly."""
    by_length = sorted(held, key=lambda unit: (len(engines[unit]), unit))
    count = min(LIVES, len(by_length))
    places = {round(index * (len(by_length) - 1) / max(count - 1, 1)) for index in range(count)}
    return [by_length[place] for place in sorted(places)]
