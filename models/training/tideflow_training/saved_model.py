"""The SavedModel and the manifest beside it: all that the graph needs to call a model."""

from __future__ import annotations

import json
import platform
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tideflow_training.alarms import CLEAR_BELOW, RAISE_ABOVE
from tideflow_training.detector import Detector
from tideflow_training.windows import feature_names

FORMAT_VERSION = 2
BATCH_ROWS = 256
SIGNATURE = "serving_default"
INPUT = "features"
OUTPUT = "score"
MANIFEST = "manifest.json"
SAVED_MODEL = "saved_model.pb"


class ModelFolderError(ValueError):
    """A folder that cannot take a model, or holds none."""


def export(
    detector: Detector,
    folder: Path | str,
    *,
    name: str,
    version: str,
    fields: tuple[str, ...],
    units: dict[str, str],
    data_digest: str,
) -> None:
    """Writes the model to `folder` as a whole: a model that is there already is replaced.

    Anything else that is there is left alone, and is a `ModelFolderError`. `data_digest` is of the
    windows that were used. The one signature, `serving_default`, takes `features` [n, 4 * fields]
    float32 and gives `score` [n, 1] float32 in 0 to 1.
    """
    expect_room(folder)
    # A link stays, and what it leads to is replaced.
    folder = Path(folder).resolve()
    served = _Served(detector.model, width=4 * len(fields))
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "features": [
            {"name": feature, "unit": units.get(feature.rsplit(".", 1)[0], "unspecified")}
            for feature in feature_names(fields)
        ],
        "signature": SIGNATURE,
        "inputs": [
            {
                "tensor": INPUT,
                "dtype": "float32",
                "shape": [4 * len(fields)],
                "features": list(feature_names(fields)),
            }
        ],
        "outputs": [{"tensor": OUTPUT, "dtype": "float32", "shape": [1], "names": [OUTPUT]}],
        "batch_rows": BATCH_ROWS,
        "scaling": "inside the SavedModel",
        "metrics": detector.metrics,
        "alarm": {"raise_above": RAISE_ABOVE, "clear_below": CLEAR_BELOW},
        "data_digest": data_digest,
        "libraries": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    text = json.dumps(manifest, indent=2, allow_nan=False)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, because only there a rename does not copy.
    with tempfile.TemporaryDirectory(
        prefix=f"{folder.name}.partial-", dir=folder.parent, ignore_cleanup_errors=True
    ) as work:
        new = Path(work, "new")
        tf.saved_model.save(served, str(new), signatures={SIGNATURE: served.score})
        (new / MANIFEST).write_text(text + "\n", encoding="utf-8")
        _replace(folder, new, old=Path(work, "old"))


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


def read_manifest(folder: Path | str) -> dict:
    """The manifest of the model in `folder`."""
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"no model in `{folder}`: {error}") from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise ModelFolderError(
            f"no model in `{folder}`: `format_version` in `{MANIFEST}`: "
            f"expected {FORMAT_VERSION}, found {json.dumps(found)}"
        )
    return manifest


def load_score(folder: Path | str):
    """The model in `folder` as a function from features [n, width] to scores [n]."""
    try:
        loaded = tf.saved_model.load(str(folder))
    except OSError as error:
        raise ModelFolderError(f"no model in `{folder}`: {error}") from error
    if SIGNATURE not in loaded.signatures:
        raise ModelFolderError(f"the model in `{folder}` has no signature `{SIGNATURE}`")

    def score(features: np.ndarray) -> np.ndarray:
        given = tf.constant(np.asarray(features, np.float32))
        # A signature alone does not keep the weights it needs.
        return loaded.signatures[SIGNATURE](**{INPUT: given})[OUTPUT].numpy()[:, 0]

    return score


def fields_of(manifest: dict) -> tuple[str, ...]:
    """The fields behind a manifest's features, in their order."""
    names = [feature["name"] for feature in manifest["features"]]
    return tuple(dict.fromkeys(name.rsplit(".", 1)[0] for name in names))


class _Served(tf.Module):
    """What is saved: the weights in the model's own order, and one function.

    Keras' own export saves its layers too, and its list of variables in an order that changes
    from run to run.
    """

    def __init__(self, model: keras.Model, width: int):
        super().__init__()
        self.weights = [weight.value for weight in model.trainable_weights]
        signature = [tf.TensorSpec((None, width), tf.float32, name=INPUT)]
        self.score = tf.function(
            lambda features: {OUTPUT: model(features, training=False)[OUTPUT]},
            input_signature=signature,
        )
