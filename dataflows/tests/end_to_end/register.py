"""Registers versions of a model: `register.py URL NAME FOLDER COPIES`.

Each is the model in FOLDER with another note in its manifest, so that each has another digest. Prints the
digests, a line each.
"""

import json
import pathlib
import shutil
import sys
import tempfile

from mlflow import MlflowClient
from tideflow_training.digest import folder_digest


def main(url, name, folder, copies):
    client = MlflowClient(url, url)
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
        client.create_experiment(name)
    experiment = client.get_experiment_by_name(name).experiment_id
    for copy in range(int(copies)):
        with tempfile.TemporaryDirectory() as work:
            model = pathlib.Path(work, "model")
            shutil.copytree(folder, model)
            manifest = json.loads((model / "manifest.json").read_text())
            manifest["note"] = f"copy {copy}"
            (model / "manifest.json").write_text(json.dumps(manifest))
            run = client.create_run(experiment)
            client.log_artifacts(run.info.run_id, str(model), "model")
            source = f"{run.info.artifact_uri}/model"
            version = client.create_model_version(name, source, run.info.run_id)
            digest = folder_digest(model)
            client.set_model_version_tag(name, version.version, "tideflow.digest", digest)
            print(digest)


main(*sys.argv[1:])
