"""Runs `detect`, and compares what it has written."""

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


class ProgramError(Exception):
    """`detect` did not end well: what it was asked, and what it said."""


@dataclass
class Detect:
    """The program; it starts in `work`, where it keeps models that it trains once."""

    path: Path
    work: Path

    def run(self, form: str, recordings: Path, out: Path, workers: int = 1) -> tuple[str, float]:
        """Judges a folder: the program's last line without its folder, and seconds with training."""
        command = [str(self.path), "--format", form, "--in", str(recordings), "--out", str(out)]
        since = time.monotonic()
        ended = subprocess.run(
            [*command, "--workers", str(workers)], cwd=self.work, capture_output=True, text=True
        )
        if ended.returncode != 0:
            raise ProgramError(f"`{' '.join(command)}` ended with {ended.returncode}: {ended.stderr.strip()}")
        said = re.sub(r"; results in .*", "", ended.stdout.strip().splitlines()[-1])
        return said, time.monotonic() - since

    def version(self) -> str:
        ended = subprocess.run([str(self.path), "--version"], capture_output=True, text=True, check=True)
        return ended.stdout.strip()


def differences(one: Path, other: Path) -> list[str]:
    """Files below two folders that are not in both, or not the same byte for byte."""
    names = {path.relative_to(top) for top in (one, other) for path in top.rglob("*") if path.is_file()}
    same = lambda name: all((top / name).is_file() for top in (one, other)) and (
        (one / name).read_bytes() == (other / name).read_bytes()
    )
    return sorted(str(name) for name in names if not same(name))


def compare_workers(detect: Detect, form: str, recordings: Path, out: Path, first: Path) -> list[str]:
    """Judges again with two and with three workers: which files differ from those of one, `first`."""
    found = []
    for workers in (2, 3):
        detect.run(form, recordings, out / f"workers-{workers}", workers)
        found += [f"{name} ({workers} workers)" for name in differences(first, out / f"workers-{workers}")]
    return found
