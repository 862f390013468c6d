"""What a version must be worth before an alias moves to it: the file `gates.toml`."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from tideflow_training.recipe import Evaluation, EvaluationSet, Recipe
from tideflow_training.saved_model import Loaded

# Python 3.10 comes without it.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")


class GatesError(ValueError):
    """A gates file that cannot be read, or has no gate for a model."""


@dataclass(frozen=True)
class Figure:
    """One number of an evaluation, and what it must be."""

    name: str
    # Whether more is better.
    higher: bool
    # The least that is enough, the most where less is better.
    limit: float
    # How much worse than the champion's it may be.
    at_most_worse: float

    def bound(self, champion: float | None) -> float:
        """What the candidate must reach."""
        if champion is None:
            return self.limit
        if self.higher:
            return max(self.limit, champion - self.at_most_worse)
        return min(self.limit, champion + self.at_most_worse)

    def reached(self, candidate: float, champion: float | None) -> bool:
        """Whether the candidate is good enough; a number that is not finite never is."""
        if not math.isfinite(candidate):
            return False
        bound = self.bound(champion)
        return candidate >= bound if self.higher else candidate <= bound


@dataclass(frozen=True)
class Gate:
    """The gate of one registered model."""

    name: str
    # The name of the recipe that evaluates it, or its file.
    recipe: str
    definition: dict
    # Of a set that is read from files; else empty.
    digest: str
    # The folder of the gates file.
    folder: Path
    figures: tuple[Figure, ...]

    def evaluate(self, recipe: Recipe, model: Loaded, data: Path | None) -> Evaluation:
        """Judges an exported model on the set that the file describes."""
        return recipe.evaluate(model, EvaluationSet(self.definition, self.folder, data))

    def expect_known(self, recipe: Recipe) -> None:
        """Refuses a description of the set that the recipe cannot read."""
        if set(self.definition) not in map(set, recipe.evaluation_keys):
            wanted = " or ".join(", ".join(keys) for keys in recipe.evaluation_keys)
            found = ", ".join(self.definition)
            raise GatesError(f"[{self.name}] `evaluation`: expected {wanted}; found {found}")

    def expect_fixed(self, evaluation: Evaluation) -> None:
        """Refuses an evaluation on another set than the file fixes, or without its figures."""
        if self.digest != evaluation.digest:
            raise GatesError(
                f"[{self.name}] `evaluation`: expected a set with digest `{self.digest}`, "
                f"found one with `{evaluation.digest}`"
            )
        for figure in self.figures:
            if figure.name not in evaluation.metrics:
                known = ", ".join(f"`{name}`" for name in evaluation.metrics)
                raise GatesError(
                    f"[{self.name}.figures.{figure.name}]: the evaluation gives only {known}"
                )


def read_gates(path: Path) -> dict[str, Gate]:
    """The gates in a file, by the models' names."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GatesError(f"`{path}` cannot be read: {error}") from error
    try:
        return {name: _gate(name, table, path.parent) for name, table in tables.items()}
    except GatesError as error:
        raise GatesError(f"`{path}`: {error}") from error


def _gate(name: str, table: dict, folder: Path) -> Gate:
    table = _only(f"[{name}]", table, {"evaluation": dict, "figures": dict}, {"recipe": str})
    figures = tuple(_figure(name, *each) for each in table["figures"].items())
    if not figures:
        raise GatesError(f"[{name}.figures]: expected at least one figure, found none")
    recipe = table.get("recipe", name)
    # A recipe of one's own lies beside the gates file.
    if recipe.endswith(".py"):
        recipe = str(folder / recipe)
    definition = dict(table["evaluation"])
    digest = definition.pop("digest", "")
    return Gate(name, recipe, definition, digest, folder, figures)


def _figure(model: str, name: str, table: dict) -> Figure:
    where = f"[{model}.figures.{name}]"
    number = (int, float)
    _only(where, table, {"better": str, "limit": number, "at_most_worse": number}, {})
    better, worse = table["better"], table["at_most_worse"]
    if better not in ("higher", "lower"):
        raise GatesError(f'{where}: `better`: expected "higher" or "lower", found "{better}"')
    if worse < 0:
        raise GatesError(f"{where}: `at_most_worse`: expected 0 or more, found {worse}")
    return Figure(name, better == "higher", float(table["limit"]), float(worse))


def _only(where: str, table: object, needed: dict, allowed: dict) -> dict:
    """The table, if it has the needed keys and no others than these and the allowed ones."""
    if not isinstance(table, dict):
        raise GatesError(f"{where}: expected a table, found {table!r}")
    for key in needed:
        if key not in table:
            raise GatesError(f"{where}: `{key}` is missing")
    for key, value in table.items():
        kind = {**needed, **allowed}.get(key)
        if kind is None:
            known = ", ".join(f"`{name}`" for name in {**needed, **allowed})
            raise GatesError(f"{where}: unknown key `{key}`; expected {known}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise GatesError(f"{where}: `{key}`: {value!r} is of the wrong type")
    return table
