"""What a model of this package is: a `Recipe`, one file in `recipes/` or anywhere else.

A recipe trains a Keras model and judges an exported one on a set of rows that stays the same.
Everything else is done for it: the SavedModel, the manifest, golden rows, plots, the MLflow run,
the registered version and the gate before it is promoted.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

    from tideflow_training.saved_model import Loaded

# Draws one plot on a matplotlib Axes.
Plot = Callable[[object], None]


class RecipeError(ValueError):
    """A recipe that there is not, or that does not keep to what one is."""


@dataclass(frozen=True)
class Feature:
    """One number that a model is given, and its unit; `1` is the unit of what has none."""

    name: str
    unit: str


@dataclass(frozen=True)
class InputTensor:
    """An input of the model: a row of it holds `features` in row-major order."""

    tensor: str
    features: tuple[Feature, ...]
    # Of one row, without the axis of rows; None is [number of features].
    shape: tuple[int, ...] | None = None
    # float32, float64 or int64.
    dtype: str = "float32"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return (len(self.features),) if self.shape is None else self.shape

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)


@dataclass(frozen=True)
class OutputTensor:
    """An output of the model: a row of it holds the columns `names`."""

    tensor: str
    names: tuple[str, ...]
    dtype: str = "float32"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return (len(self.names),)


@dataclass(frozen=True)
class Trained:
    """What training gives: a model to export, and what is known of it."""

    # Takes the input tensors, a dict by name where there are several, and gives a dict of output
    # tensors by name, or the one output.
    model: keras.Model
    inputs: tuple[InputTensor, ...]
    outputs: tuple[OutputTensor, ...]
    # The rows that it was trained on, [rows, *row_shape] for each input tensor: what the manifest
    # says of the usual distribution comes from here, and so do the golden rows.
    rows: dict[str, np.ndarray]
    # SHA-256 of the data that was used, whatever for.
    data_digest: str
    # What was set before training, and what was measured by it.
    parameters: dict[str, str | int | float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    # Numbers of each epoch, such as `loss`.
    curves: dict[str, list[float]] = field(default_factory=dict)
    # (raise above, clear below) that the scores were calibrated for.
    alarm: tuple[float, float] | None = None
    # Where features are scaled, for people to read.
    scaling: str = "inside the SavedModel"

    def __post_init__(self):
        features = [name for tensor in self.inputs for name in tensor.names]
        outputs = [name for tensor in self.outputs for name in tensor.names]
        if len(set(features + outputs)) < len(features + outputs):
            raise RecipeError("names of features and outputs: expected each once")
        for tensor in self.inputs:
            if math.prod(tensor.row_shape) != len(tensor.features):
                raise RecipeError(
                    f"input `{tensor.tensor}`: a row of shape {list(tensor.row_shape)} holds "
                    f"{math.prod(tensor.row_shape)} numbers, found {len(tensor.features)} features"
                )
            found = np.shape(self.rows.get(tensor.tensor))[1:]
            if found != tensor.row_shape:
                raise RecipeError(
                    f"rows of `{tensor.tensor}`: expected shape {list(tensor.row_shape)} each, "
                    f"found {list(found)}"
                )


@dataclass(frozen=True)
class EvaluationSet:
    """The rows that every version of a model is judged on, as the gates file describes them."""

    # The table `evaluation` of the model's gate: one group of `evaluation_keys`.
    definition: dict
    # The folder of the gates file: paths in `definition` are relative to it.
    folder: Path
    # What `--data` names, for sets that are cut from a data set.
    data: Path | None

    def path(self, key: str) -> Path:
        """The file that `definition` names."""
        return self.folder / self.definition[key]


@dataclass(frozen=True)
class Evaluation:
    """What an exported model is worth on its fixed evaluation set."""

    # A line that says what the set is.
    about: str
    metrics: dict[str, float]
    # SHA-256 of a set that is read from files, which the gates file must state too; empty for one
    # that is made from a seed.
    digest: str = ""
    # By name; drawn only where there is a run to log them to.
    plots: dict[str, Plot] = field(default_factory=dict)


class Recipe:
    """How one kind of model is made and judged. A subclass gives the two methods."""

    # As it is registered and named in its manifest, unless `--name` says otherwise.
    name: str
    # A line or two that say what it is and what it is worth; shown by MLflow too.
    about: str
    # What `--data` names; None for a model that reads nothing.
    reads: str | None = None
    # Whether it cannot do without.
    needs_data: bool = False
    # What the gates file may say of the evaluation set: one of these groups of keys, whole.
    evaluation_keys: tuple[tuple[str, ...], ...] = ((),)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds options of this model's own to those that every model has."""

    def train(self, options: argparse.Namespace) -> Trained:
        """Trains with `options.seed`, `options.epochs` (None: its own), `options.data` (a path or
        None) and its own options. The same options and data give the same weights."""
        raise NotImplementedError

    def evaluate(self, model: Loaded, wanted: EvaluationSet) -> Evaluation:
        """Judges an exported model, called as a graph calls it."""
        raise NotImplementedError


def recipe_names() -> list[str]:
    """The models of this package."""
    return [
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "recipes")])
    ]


def find_recipe(model: str) -> Recipe:
    """The recipe of that name in this package or, where `model` ends in `.py`, in that file."""
    if model.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(model).stem, model)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except FileNotFoundError as error:
            raise RecipeError(f"no recipe `{model}`: there is no such file") from error
    elif model in recipe_names():
        module = importlib.import_module(f"tideflow_training.recipes.{model}")
    else:
        known = ", ".join(f"`{name}`" for name in recipe_names())
        raise RecipeError(f"no model `{model}`: expected {known}, or a file that ends in `.py`")
    found = getattr(module, "RECIPE", None)
    if not isinstance(found, Recipe):
        raise RecipeError(f"`{model}`: expected `RECIPE = ...`, an instance of `Recipe`")
    if not model.endswith(".py") and found.name != model:
        raise RecipeError(f'recipes/{model}.py: expected name = "{model}", found "{found.name}"')
    return found
