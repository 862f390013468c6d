"""The manifest beside a SavedModel: what whoever calls the model must know of it.

`models/schemas/manifest.schema.json` is its form.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from tideflow_training.provenance import git_commit, libraries
from tideflow_training.recipe import InputTensor, OutputTensor, Trained
from tideflow_training.reference import reference

FORMAT_VERSION = 2
SIGNATURE = "serving_default"
MANIFEST = "manifest.json"
# Every call of a graph has this many rows, the last ones zeros where there are fewer: the same row
# then gets the same bits in every call.
BATCH_ROWS = 256


class ModelFolderError(ValueError):
    """A folder that cannot take a model, or holds none."""


def describe(trained: Trained, name: str, version: str, outputs: dict[str, np.ndarray]) -> dict:
    """The manifest of a trained model; `outputs` are what it gives for the rows it learnt from."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "features": [
            {"name": feature.name, "unit": feature.unit}
            for tensor in trained.inputs
            for feature in tensor.features
        ],
        **tensors_of(trained),
        "scaling": trained.scaling,
        "metrics": trained.metrics,
        "reference": {
            **reference(trained.inputs, trained.rows),
            **reference(trained.outputs, outputs),
        },
        "data_digest": trained.data_digest,
        "git_commit": git_commit(),
        "libraries": libraries(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if trained.alarm is not None:
        manifest["alarm"] = dict(zip(("raise_above", "clear_below"), trained.alarm))
    return manifest


def tensors_of(trained: Trained) -> dict:
    """The part of the manifest that says how the model is called."""
    return {
        "signature": SIGNATURE,
        "inputs": [{**_tensor(each), "features": list(each.names)} for each in trained.inputs],
        "outputs": [{**_tensor(each), "names": list(each.names)} for each in trained.outputs],
        "batch_rows": BATCH_ROWS,
    }


def _tensor(tensor: InputTensor | OutputTensor) -> dict:
    return {"tensor": tensor.tensor, "dtype": tensor.dtype, "shape": list(tensor.row_shape)}


def read_manifest(folder: Path | str) -> dict:
    """The manifest of the model in `folder`; one of version 1 is given in the form of this one."""
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"no model in `{folder}`: {error}") from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found == 1:
        return _from_1(manifest)
    if found != FORMAT_VERSION:
        raise ModelFolderError(
            f"no model in `{folder}`: `format_version` in `{MANIFEST}`: "
            f"expected {FORMAT_VERSION} or 1, found {json.dumps(found)}"
        )
    return manifest


def _from_1(manifest: dict) -> dict:
    """One float32 input and one float32 output were all there could be."""
    signature = manifest.get("signature", {})
    features = [feature["name"] for feature in manifest.get("features", [])]
    outputs = manifest.get("outputs", [])
    given = {"tensor": signature.get("input"), "dtype": "float32", "shape": [len(features)]}
    got = {"tensor": signature.get("output"), "dtype": "float32", "shape": [len(outputs)]}
    return {
        **manifest,
        "signature": signature.get("name"),
        "inputs": [{**given, "features": features}],
        "outputs": [{**got, "names": outputs}],
        "batch_rows": BATCH_ROWS,
    }


def fields_of(manifest: dict) -> tuple[str, ...]:
    """The fields behind a manifest's features, in their order."""
    names = [feature["name"] for feature in manifest["features"]]
    return tuple(dict.fromkeys(name.rsplit(".", 1)[0] for name in names))
