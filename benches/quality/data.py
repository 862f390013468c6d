"""What is there to judge in a folder of data, and why the rest is left out: `data.py FOLDER` says it."""

import sys
from dataclasses import dataclass
from pathlib import Path


class DataError(Exception):
    """A file is not what the rules expect: names it, with expected and found."""


@dataclass(frozen=True)
class Part:
    """A data set: its name, and what must be below the folder."""

    name: str
    about: str
    needs: tuple[str, ...]

    def missing(self, folder: Path) -> list[str]:
        return [pattern for pattern in self.needs if not any(folder.glob(pattern))]


PARTS = (
    Part("skab", "SKAB, group `other`", ("skab/other/*.csv",)),
    Part(
        "nab",
        "NAB",
        ("nab/data/*/*.csv", "nab/labels/combined_windows.json", "nab/config/profiles.json"),
    ),
    Part("cmapss", "C-MAPSS FD001", ("cmapss-fd001/train_FD001.txt",)),
)


def find(folder: Path) -> tuple[list[Part], list[str]]:
    """The parts that are there, and a line on each that is not. Raises where none is."""
    there = [part for part in PARTS if not part.missing(folder)]
    left_out = [
        f"{part.about}: no " + ", no ".join(f"`{pattern}`" for pattern in part.missing(folder))
        for part in PARTS
        if part not in there
    ]
    if not there:
        raise DataError(f"nothing to judge in `{folder}`: " + "; ".join(left_out))
    return there, left_out


def main(folder: str) -> int:
    try:
        _, left_out = find(Path(folder))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
