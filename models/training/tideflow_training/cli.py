"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tideflow_training.alarms import WINDOWS_MIN
from tideflow_training.recipe import Recipe, RecipeError, find_recipe, recipe_names
from tideflow_training.windows import WindowsFileError, read_windows

# What numpy and Keras take.
SEED_MAX = 2**32 - 1
# As many names as six digits make.
DEVICES_MAX = 1_000_000
# Models that programs train: no `train` before the name, and unless asked for neither a registered
# version nor an evaluation.
SHORT = ("health", "series")
GATES = Path(__file__).parents[1] / "gates.toml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0, 1 where a promotion is refused, or 2 with one line on stderr where the
    input is at fault."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    registry, gates = os.environ.get("MLFLOW_TRACKING_URI") or None, GATES
    if arguments[:1] and arguments[0] in SHORT:
        arguments.insert(0, "train")
        registry = gates = None
    try:
        options = _parser(arguments, registry, gates).parse_args(arguments)
        return options.run(options) or 0
    except (WindowsFileError, OSError) as error:
        return _refuse(error)
    except ValueError as error:
        # The refusals of training and export are ValueErrors of our own; others are bugs.
        if type(error).__module__.startswith("tideflow_training"):
            return _refuse(error)
        raise


def _refuse(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _parser(
    arguments: Sequence[str], registry: str | None, gates: Path | None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tideflow_training",
        description="Trains models, exports them as SavedModels, registers and promotes them.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train, evaluate and export a model, and register it")
    models = ", ".join(f"`{name}`" for name in recipe_names())
    train.usage = "%(prog)s MODEL [OPTION ...]; `train MODEL --help` explains the options"
    train.add_argument("model", metavar="MODEL", help=f"{models}, or a file that ends in `.py`")
    if arguments[:1] == ["train"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        train.usage = None
        _training_options(train, find_recipe(arguments[1]))
        _registry_options(train, registry, gates)

    promote = commands.add_parser("promote", help="let an alias name a version that is good enough")
    promote.add_argument("name", metavar="NAME", help="the registered model")
    which = promote.add_mutually_exclusive_group()
    which.add_argument("--candidate", metavar="VERSION", help="default: the newest version")
    which.add_argument(
        "--back", action="store_true", help="back to the version that the current one has replaced"
    )
    promote.add_argument(
        "--limits-only",
        action="store_true",
        help="do not hold it against the version that the alias names: for when the recipe's features have "
        "changed, and it cannot evaluate that one any more",
    )
    promote.add_argument("--alias", default="champion", help="default `champion`")
    promote.add_argument("--data", type=Path, metavar="PATH", help="as for `train`")
    _registry_options(promote, registry, gates)
    promote.set_defaults(run=_promote)

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


def _training_options(command: argparse.ArgumentParser, recipe: Recipe) -> None:
    command.description = recipe.about
    if recipe.reads is not None:
        command.add_argument(
            "--data",
            "--windows",
            type=Path,
            required=recipe.needs_data,
            metavar="PATH",
            help=recipe.reads,
        )
    out = Path(".tideflow/models")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder for the model, default {out}/NAME"
    )
    command.add_argument("--seed", type=_whole(0, SEED_MAX), default=1, help="default 1")
    command.add_argument("--epochs", type=_whole(1), help="passes over the rows; default: its own")
    command.add_argument(
        "--name", default=recipe.name, help=f"of the model, default `{recipe.name}`"
    )
    command.add_argument(
        "--model-version", help="in the manifest, default `1`; a registry numbers its own"
    )
    recipe.add_options(command)
    command.set_defaults(run=_train, recipe=recipe, data=None)


def _registry_options(
    command: argparse.ArgumentParser, registry: str | None, gates: Path | None
) -> None:
    command.add_argument(
        "--registry",
        default=registry,
        metavar="URL",
        help="an MLflow server; default: MLFLOW_TRACKING_URI, if that is set",
    )
    command.add_argument(
        "--gates",
        type=Path,
        default=gates,
        metavar="FILE",
        help="evaluation sets and what a version must reach; default: models/training/gates.toml",
    )


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


def _train(options: argparse.Namespace) -> None:
    from tideflow_training.train import train

    options.out = options.out or Path(".tideflow/models") / options.name
    train(options.recipe, options)


def _promote(options: argparse.Namespace) -> int:
    from tideflow_training.promote import promote

    if options.registry is None:
        raise RecipeError("promote needs --registry, or MLFLOW_TRACKING_URI")
    return promote(options)


def _evaluate(options: argparse.Namespace) -> None:
    from tideflow_training import evaluate
    from tideflow_training.manifest import fields_of, read_manifest
    from tideflow_training.saved_model import load_score

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
