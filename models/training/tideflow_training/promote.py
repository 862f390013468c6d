"""The command `promote`: an alias moves to a version that is at least as good as its champion."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tideflow_training.gates import Figure, Gate, GatesError, read_gates
from tideflow_training.manifest import ModelFolderError
from tideflow_training.recipe import Recipe, RecipeError, find_recipe
from tideflow_training.registry import Registry, RegistryError
from tideflow_training.saved_model import load


def promote(options: argparse.Namespace) -> int:
    """Moves the alias, or says why not: 0 or 1."""
    registry = Registry(options.registry)
    if options.back:
        return _back(registry, options.name, options.alias)
    gate = read_gates(options.gates).get(options.name)
    if gate is None:
        raise GatesError(f"`{options.gates}`: no gate for `{options.name}`: expected a table of it")
    recipe = find_recipe(gate.recipe)
    gate.expect_known(recipe)
    candidate = options.candidate or registry.newest(options.name)
    champion = registry.alias(options.name, options.alias)
    if candidate == champion:
        print(f"refused: version {candidate} of `{options.name}` is the {options.alias} already")
        return 1
    compared = None if options.limits_only else champion
    values = {candidate: _figures(registry, gate, recipe, candidate, options.data)}
    if compared is not None:
        try:
            values[compared] = _figures(registry, gate, recipe, compared, options.data)
        except (ModelFolderError, RecipeError, RegistryError) as error:
            raise RegistryError(
                f"version {compared}, the {options.alias}, cannot be evaluated: {error}; "
                "`--limits-only` judges the candidate without it"
            ) from error
    missed = _table(gate, options.alias, candidate, compared, values)
    decision = f"refused: {', '.join(missed)}" if missed else "accepted"
    # Somebody else may have moved it meanwhile, and this was not held against that version.
    now = registry.alias(options.name, options.alias)
    if not missed and now != champion:
        decision = f"refused: `{options.alias}` has moved to version {now} meanwhile"
    accepted = decision == "accepted"
    figures = {"candidate": values[candidate], options.alias: values.get(compared)}
    tags = {"decision": decision, "figures": json.dumps(figures)}
    if accepted:
        tags["replaced"] = champion or ""
    _tag(registry, options.name, options.alias, candidate, tags)
    if accepted:
        registry.move(options.name, options.alias, candidate)
        print(f"accepted: `{options.alias}` of `{options.name}` is version {candidate}")
        return 0
    print(decision)
    return 1


def _figures(
    registry: Registry, gate: Gate, recipe: Recipe, version: str, data: Path | None
) -> dict[str, float]:
    """The gate's figures of one version, as it lies in the registry."""
    with tempfile.TemporaryDirectory() as work:
        model = load(registry.download(gate.name, version, Path(work)))
        evaluation = gate.evaluate(recipe, model, data)
    gate.expect_fixed(evaluation)
    return {figure.name: evaluation.metrics[figure.name] for figure in gate.figures}


def _table(gate: Gate, alias: str, candidate: str, champion: str | None, values: dict) -> list[str]:
    """Prints a line for each figure; what is not reached."""
    against = f"{alias} {champion}" if champion else f"no {alias}, the limits alone"
    print(f"{gate.name}: version {candidate} against {against}")
    print(f"  {'figure':24} {alias:>12} {'candidate':>12}   needed")
    missed = []
    for figure in gate.figures:
        found = values[candidate][figure.name]
        best = values[champion][figure.name] if champion else None
        reached = figure.reached(found, best)
        needed = _needed(figure, best)
        shown = "-" if best is None else f"{best:.6g}"
        verdict = "" if reached else "   not reached"
        print(f"  {figure.name:24} {shown:>12} {found:12.6g}   {needed}{verdict}")
        if not reached:
            missed.append(f"{figure.name} is {found:.6g}, expected {needed}")
    return missed


def _needed(figure: Figure, champion: float | None) -> str:
    return f"at {'least' if figure.higher else 'most'} {figure.bound(champion):.6g}"


def _back(registry: Registry, name: str, alias: str) -> int:
    """The alias goes back to the version that was replaced by the one it names."""
    left = registry.alias(name, alias)
    if left is None:
        raise RegistryError(f"`{name}` has no alias `{alias}`: nothing to go back from")
    earlier = registry.version(name, left).get(f"tideflow.{alias}.replaced")
    if not earlier:
        raise RegistryError(f"version {left} of `{name}` has replaced none as `{alias}`")
    # One that jobs would refuse is nothing to go back to.
    with tempfile.TemporaryDirectory() as work:
        load(registry.download(name, earlier, Path(work)))
    _tag(registry, name, alias, left, {"decision": f"taken back, for version {earlier}"})
    registry.move(name, alias, earlier)
    print(f"back: `{alias}` of `{name}` is version {earlier}, no longer {left}")
    return 0


def _tag(registry: Registry, name: str, alias: str, version: str, tags: dict[str, str]) -> None:
    registry.tag(name, version, {f"tideflow.{alias}.{key}": value for key, value in tags.items()})
