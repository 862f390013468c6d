"""The SavedModel with its manifest and golden rows: writing a model's folder, and calling one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tideflow_training.golden import GOLDEN, TYPICAL, as_json, golden_rows
from tideflow_training.manifest import (
    MANIFEST,
    ModelFolderError,
    describe,
    read_manifest,
    tensors_of,
)
from tideflow_training.recipe import Trained

SAVED_MODEL = "saved_model.pb"


class Loaded:
    """A model's folder, opened: called as a graph calls it, in batches of one size."""

    def __init__(self, folder: Path | str, manifest: dict):
        """`manifest`, or as much of one as says what the tensors are."""
        self.manifest = manifest
        signature = manifest["signature"]
        try:
            loaded = tf.saved_model.load(str(folder))
        except OSError as error:
            raise ModelFolderError(f"no model in `{folder}`: {error}") from error
        if signature not in loaded.signatures:
            raise ModelFolderError(f"the model in `{folder}` has no signature `{signature}`")
        # A signature alone does not keep the weights that it needs.
        self._loaded = loaded
        self._serve = loaded.signatures[signature]

    def predict(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The output tensors for rows of each input tensor, [rows, *shape of one row]."""
        size = self.manifest["batch_rows"]
        inputs = {each["tensor"]: each for each in self.manifest["inputs"]}
        rows = {name: np.asarray(rows[name], inputs[name]["dtype"]) for name in inputs}
        for name, values in rows.items():
            wanted, found = inputs[name]["shape"], list(values.shape[1:])
            if found != wanted:
                of = f"`{name}` of `{self.manifest['name']}`"
                raise ModelFolderError(f"rows of {of}: expected shape {wanted}, found {found}")
        count = len(next(iter(rows.values())))
        parts = []
        for start in range(0, count, size):
            batch = {
                name: _padded(values[start : start + size], size) for name, values in rows.items()
            }
            parts.append({name: each.numpy() for name, each in self._serve(**batch).items()})
        return {
            each["tensor"]: np.concatenate([part[each["tensor"]] for part in parts])[:count]
            for each in self.manifest["outputs"]
        }

    def score(self, features: np.ndarray) -> np.ndarray:
        """The first column of the first output, [rows], of a model with one input tensor."""
        inputs = self.manifest["inputs"]
        if len(inputs) != 1:
            raise ModelFolderError(f"expected a model with one input tensor, found {len(inputs)}")
        outputs = self.predict({inputs[0]["tensor"]: features})
        return outputs[self.manifest["outputs"][0]["tensor"]][:, 0]


def _padded(rows: np.ndarray, size: int) -> tf.Tensor:
    missing = [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return tf.constant(np.pad(rows, missing))


def load(folder: Path | str) -> Loaded:
    """The model in `folder`."""
    return Loaded(folder, read_manifest(folder))


def load_score(folder: Path | str):
    """The model in `folder` as a function from features [n, width] to scores [n]."""
    return load(folder).score


def export(trained: Trained, folder: Path | str, *, name: str, version: str) -> Loaded:
    """Writes the model to `folder` as a whole, and opens it; a model that is there is replaced.

    Anything else that is there is left alone, and is a `ModelFolderError`. So is a model whose
    outputs are not finite for what it was trained on.
    """
    expect_room(folder)
    # A link stays, and what it leads to is replaced.
    folder = Path(folder).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, because only there a rename does not copy.
    with tempfile.TemporaryDirectory(
        prefix=f"{folder.name}.partial-", dir=folder.parent, ignore_cleanup_errors=True
    ) as work:
        new = Path(work, "new")
        tensors = tensors_of(trained)
        served = _Served(trained)
        signatures = {tensors["signature"]: served.serve}
        tf.saved_model.save(served, str(new), signatures=signatures)
        model = Loaded(new, tensors)
        outputs = model.predict(trained.rows)
        if not _finite(outputs).all():
            raise ModelFolderError(f"`{name}` gives outputs that are not finite for its own rows")
        model.manifest = describe(trained, name, version, outputs)
        _write_json(new / MANIFEST, model.manifest, indent=2)
        _write_json(new / GOLDEN, _golden(model, trained))
        _replace(folder, new, old=Path(work, "old"))
    return model


def _golden(model: Loaded, trained: Trained) -> dict:
    rows = golden_rows(trained)
    outputs = model.predict(rows)
    # Far from what it knows, a model may overflow: such rows tell nothing.
    kept = _finite(outputs)
    kept[:TYPICAL] = True
    return as_json(*({name: each[kept] for name, each in of.items()} for of in (rows, outputs)))


def _finite(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """For each row, whether all of its outputs are finite."""
    columns = [each.reshape(len(each), -1) for each in outputs.values()]
    return np.isfinite(np.concatenate(columns, axis=1)).all(axis=1)


def _write_json(path: Path, value: dict, indent: int | None = None) -> None:
    text = json.dumps(value, indent=indent, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _replace(folder: Path, new: Path, old: Path) -> None:
    """Renames `new` to `folder`, and what was there to `old`, or leaves all as it was.

    A process killed between the two renames leaves both models whole, beside the folder.
    """
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise


def expect_room(folder: Path | str) -> None:
    """Refuses a `folder` that holds anything but a model of this package."""
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        read_manifest(folder)
    except ModelFolderError as error:
        raise ModelFolderError(f"not overwritten: {error}") from error
    if not (folder / SAVED_MODEL).is_file():
        raise ModelFolderError(f"not overwritten: no model in `{folder}`: no `{SAVED_MODEL}`")


class _Served(tf.Module):
    """What is saved: the weights in the model's own order, and one function.

    Keras' own export saves its layers too, and its list of variables in an order that changes
    from run to run.
    """

    def __init__(self, trained: Trained):
        super().__init__()
        model, outputs = trained.model, trained.outputs
        weights = [*model.trainable_weights, *model.non_trainable_weights]
        self.weights = [weight.value for weight in weights]
        signature = [
            tf.TensorSpec((None, *each.row_shape), each.dtype, name=each.tensor)
            for each in trained.inputs
        ]

        def serve(*tensors):
            named = {each.tensor: given for each, given in zip(trained.inputs, tensors)}
            found = model(named if len(named) > 1 else tensors[0], training=False)
            if not isinstance(found, dict):
                found = {outputs[0].tensor: found}
            return {each.tensor: found[each.tensor] for each in outputs}

        self.serve = tf.function(serve, input_signature=signature)
