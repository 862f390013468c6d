"""The command `train`: from a recipe to a model's folder and, with a registry, a version of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tideflow_training.gates import read_gates
from tideflow_training.recipe import Recipe, RecipeError
from tideflow_training.saved_model import expect_room, export

if TYPE_CHECKING:
    from tideflow_training.registry import Run


def train(recipe: Recipe, options: argparse.Namespace) -> None:
    """Trains, exports and evaluates; with a registry, logs all of it and registers a version."""
    expect_room(options.out)
    gate = read_gates(options.gates).get(options.name) if options.gates else None
    if gate is not None:
        gate.expect_known(recipe)
    with _run(recipe, options) as run:
        started = time.monotonic()
        trained = recipe.train(options)
        version = run.reserve() if run else options.model_version or "1"
        model = export(trained, options.out, name=options.name, version=version)
        rows = len(next(iter(trained.rows.values())))
        seconds = time.monotonic() - started
        print(f"{options.name}: {rows} rows, {seconds:.1f} s, model in {options.out}")
        _print(trained.metrics)
        evaluation = None
        if gate is not None:
            evaluation = gate.evaluate(recipe, model, options.data)
            print(f"evaluation: {evaluation.about}")
            _print(evaluation.metrics)
        if run:
            run.finish(trained, options.out, evaluation)
            print(f"registered: version {version} of `{options.name}` at {options.registry}")
            print(f"run: {run.page}")


@contextmanager
def _run(recipe: Recipe, options: argparse.Namespace) -> Iterator[Run | None]:
    """The run that all is logged to, or None without a registry."""
    if options.registry is None:
        yield None
        return
    if options.model_version is not None:
        raise RecipeError("--model-version: expected none, because the registry numbers versions")
    # Not needed offline, and slow to import.
    from tideflow_training.registry import Registry

    with Registry(options.registry).run(options.name, recipe.about) as run:
        yield run


def _print(metrics: dict[str, float]) -> None:
    for metric, value in metrics.items():
        print(f"  {metric:32} {value:.6g}")
