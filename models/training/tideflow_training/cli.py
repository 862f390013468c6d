"""The command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tideflow_training.alarms import WINDOWS_MIN
from tideflow_training.windows import WindowsFileError, read_windows

# What numpy and Keras take.
SEED_MAX = 2**32 - 1
# As many names as six digits make.
DEVICES_MAX = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0, or 2 with one line on stderr where the input is at fault."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (WindowsFileError, OSError) as error:
        return _refuse(error)
    except ValueError as error:
        # The refusals of training and export are ValueErrors of our own; others are bugs.
        if type(error).__module__.startswith("tideflow_training"):
            return _refuse(error)
        raise
    return 0


def _refuse(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tideflow_training",
        description="Trains anomaly models on window statistics and exports SavedModels.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    health = commands.add_parser("health", help="one model for a fleet of like devices")
    _training_options(health, "health")
    health.set_defaults(run=_health)

    series = commands.add_parser("series", help="one model for one recorded machine")
    _training_options(series, "series")
    series.add_argument(
        "--until",
        type=int,
        metavar="MS",
        help="train only on windows that end at or before this time, ms since the epoch",
    )
    series.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="FIELD=UNIT",
        help="a field's unit for the manifest; may be given for each field",
    )
    series.set_defaults(run=_series)

    evaluate = commands.add_parser("evaluate", help="score windows, count alarms and faults found")
    evaluate.add_argument("--model", type=Path, required=True, metavar="DIR")
    evaluate.add_argument("--windows", type=Path, required=True, metavar="FILE")
    evaluate.add_argument(
        "--labels", type=Path, metavar="FILE", help="JSON lines: device, from, to (ms), kind"
    )
    evaluate.add_argument(
        "--for-at-least",
        type=_whole(1),
        default=WINDOWS_MIN,
        metavar="N",
        help=f"windows in a row that raise an alarm (default {WINDOWS_MIN})",
    )
    evaluate.set_defaults(run=_evaluate)

    generate = commands.add_parser("generate", help="windows of a made-up fleet")
    generate.add_argument("--out", type=Path, required=True, metavar="FILE")
    generate.add_argument("--devices", type=_whole(1, DEVICES_MAX), default=500, help="default 500")
    generate.add_argument("--minutes", type=_whole(1), default=30, help="default 30")
    generate.add_argument("--seed", type=_whole(0, SEED_MAX), default=1, help="default 1")
    generate.add_argument(
        "--faults", type=_whole(0), default=0, help="devices with a fault, default 0"
    )
    generate.add_argument("--labels", type=Path, metavar="FILE", help="write the faults here")
    generate.set_defaults(run=_generate)
    return parser


def _training_options(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument(
        "--windows", type=Path, required=True, metavar="FILE", help="healthy windows, JSON lines"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the model"
    )
    command.add_argument("--seed", type=_whole(0, SEED_MAX), default=1, help="default 1")
    command.add_argument(
        "--epochs",
        type=_whole(1),
        help="passes over the windows; default: 1,500 steps, for a series 500",
    )
    command.add_argument("--name", default=name, help=f"in the manifest, default `{name}`")
    command.add_argument("--model-version", default="1", help="in the manifest, default `1`")


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type of option: whole numbers from `least` to `most`."""
    expected = f"{least} or more" if most is None else f"{least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"expected {expected}, found `{text}`")
        return value

    return parse


def _health(options: argparse.Namespace) -> None:
    from tideflow_training import health
    from tideflow_training.detector import Settings
    from tideflow_training.saved_model import expect_room

    expect_room(options.out)
    windows = read_windows(options.windows, health.FIELDS)
    settings = Settings(seed=options.seed, epochs=options.epochs)
    started = time.monotonic()
    detector = health.train_health(windows, settings)
    _export(options, detector, windows, health.UNITS, started)


def _series(options: argparse.Namespace) -> None:
    from tideflow_training import series
    from tideflow_training.detector import Settings
    from tideflow_training.saved_model import expect_room

    expect_room(options.out)
    windows = read_windows(options.windows)
    units = dict(pair.partition("=")[::2] for pair in options.unit)
    unknown = sorted(set(units) - set(windows.fields))
    if unknown:
        known = ", ".join(windows.fields)
        raise WindowsFileError(options.windows, None, f"no field `{unknown[0]}`, only {known}")
    settings = Settings(
        seed=options.seed, epochs=options.epochs, hidden=series.HIDDEN, steps=series.STEPS
    )
    started = time.monotonic()
    detector = series.train_series(windows, settings, options.until)
    windows = series.windows_until(windows, options.until)
    _export(options, detector, windows, units, started)


def _export(options, detector, windows, units, started) -> None:
    from tideflow_training.saved_model import export

    export(
        detector,
        options.out,
        name=options.name,
        version=options.model_version,
        fields=windows.fields,
        units=units,
        data_digest=windows.digest,
    )
    seconds = time.monotonic() - started
    print(f"{options.name}: {len(windows)} windows, {seconds:.1f} s, model in {options.out}")
    for metric, value in detector.metrics.items():
        print(f"  {metric:32} {value:.6g}")


def _evaluate(options: argparse.Namespace) -> None:
    from tideflow_training import evaluate
    from tideflow_training.saved_model import fields_of, load_score, read_manifest

    manifest = read_manifest(options.model)
    windows = read_windows(options.windows, fields_of(manifest))
    labels = evaluate.read_labels(options.labels) if options.labels else []
    score = load_score(options.model)(windows.features)
    verdict = evaluate.judge(windows, score, labels, for_at_least=options.for_at_least)
    for label, waited in zip(labels, verdict.windows_to_alarm):
        found = "not found" if waited is None else f"found after {waited} windows"
        print(f"{label.device}  {label.kind:8} from {label.start_ms}  {found}")
    summary = {
        "windows": len(windows),
        "alarms": verdict.alarms,
        "false_alarms": verdict.false_alarms,
        "false_positive_rate": verdict.false_positive_rate,
    }
    if labels:
        summary.update(faults=len(labels), faults_found=verdict.found, auc=verdict.auc)
    print(json.dumps(summary))


def _generate(options: argparse.Namespace) -> None:
    from tideflow_training import fleet

    size = (options.devices, options.minutes)
    faults = fleet.make_faults(options.faults, *size, options.seed)
    with options.out.open("w", encoding="utf-8") as out:
        for line in fleet.make_windows(*size, options.seed, faults):
            out.write(line + "\n")
    if options.labels:
        text = "".join(fault.label() + "\n" for fault in faults)
        options.labels.write_text(text, encoding="utf-8")
