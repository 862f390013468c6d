"""Judges the recordings below a folder with `detect`, scores them, and writes a report with plots."""

import argparse
import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path

from . import engines, nab, plots, skab
from .data import DataError, find
from .program import Detect, ProgramError, compare_workers
from .report import Results, report

LIBRARIES = ("tensorflow_cpu", "keras", "numpy", "pyarrow", "matplotlib")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what has skab/, nab/, cmapss-fd001/")
    parser.add_argument("--detect", type=Path, required=True, help="the program")
    parser.add_argument("--work", type=Path, required=True, help="for results; emptied first, in the checkout")
    parser.add_argument("--reports", type=Path, required=True, help="where the report and its plots go")
    parser.add_argument("--commit", required=True, help="what is measured, for the report")
    parser.add_argument("--command", required=True, help="how this was started, for the report")
    parser.add_argument("--given", action="store_true", help="the program was not built for this")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def judge_pumps(detect: Detect, data: Path, results: Results) -> None:
    recordings, out = data / "skab/other", detect.work / "skab"
    results.runs["skab"] = detect.run("skab", recordings, out)
    results.skab = skab.read(recordings, out)
    say(f"SKAB: F1 {skab.pooled(results.skab).f1:.3f}")
    for each in results.skab:
        one = detect.work / "skab-alone-in" / each.name
        one.mkdir(parents=True)
        shutil.copy(recordings / each.name, one)
        detect.run("skab", one, detect.work / "skab-alone")
    results.skab_alone = skab.read(recordings, detect.work / "skab-alone")
    say(f"SKAB, each file alone: F1 {skab.pooled(results.skab_alone).f1:.3f}")
    results.differ["SKAB"] = compare_workers(detect, "skab", recordings, detect.work / "skab-by", out)


def judge_series(detect: Detect, data: Path, results: Results) -> None:
    recordings, out = data / "nab/data", detect.work / "nab"
    results.runs["nab"] = detect.run("nab", recordings, out)
    results.nab = nab.read(data / "nab", out)
    results.profiles = nab.profiles(data / "nab/config/profiles.json")
    for name, costs in results.profiles.items():
        say(f"NAB, {name}: {nab.score(results.nab, costs):.1f}")
    results.differ["NAB (its model is trained once, and kept)"] = compare_workers(
        detect, "nab", recordings, detect.work / "nab-by", out
    )


def judge_engines(detect: Detect, data: Path, results: Results) -> None:
    lives = engines.read(data / "cmapss-fd001/train_FD001.txt")
    results.cmapss = engines.validate(detect, lives, detect.work / "cmapss", say)
    say(f"C-MAPSS: median RMSE {results.cmapss.median:.2f}")


JUDGES = {"skab": judge_pumps, "nab": judge_series, "cmapss": judge_engines}


def draw(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True)
    if results.skab:
        plots.draw_pumps(results.skab, folder / "skab.png")
    if results.nab:
        plots.draw_series(results.nab, folder / "nab.png")
    if results.cmapss:
        plots.draw_cuts(results.cmapss, folder / "cmapss.png")
        plots.draw_lives(results.cmapss, folder / "cmapss-lives.png")


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "unknown")
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, {model}, load {load} at the start"


def about(chosen: argparse.Namespace, detect: Detect) -> list[str]:
    digest = hashlib.sha256(detect.path.read_bytes()).hexdigest()[:12]
    origin = "given, not built by this command" if chosen.given else "an optimised build of the commit"
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return [
        f"machine: {machine()}",
        f"commit: {chosen.commit}",
        f"command: `{chosen.command}`",
        f"program: {detect.version()}, {origin}, SHA-256 {digest}",
        f"libraries: Python {platform.python_version()}, {', '.join(versions)}",
    ]


def main() -> int:
    chosen = options()
    now = datetime.now(timezone.utc)
    try:
        there, left_out = find(chosen.data)
        shutil.rmtree(chosen.work, ignore_errors=True)
        chosen.work.mkdir(parents=True)
        detect = Detect(chosen.detect.resolve(), chosen.work.resolve())
        lines, results = about(chosen, detect), Results(left_out=left_out)
        for part in there:
            JUDGES[part.name](detect, chosen.data.resolve(), results)
        name = f"{now:%Y-%m-%d}-quality"
        if (chosen.reports / f"{name}.md").exists():
            name = f"{now:%Y-%m-%d-%H%M%S}-quality"
        draw(results, chosen.reports / name)
        file = chosen.reports / f"{name}.md"
        file.write_text(report(f"Quality of `detect`, {now:%Y-%m-%d}", lines, results, name))
    except (DataError, ProgramError, OSError) as error:
        say(f"error: {error}")
        return 2
    print(f"report: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
