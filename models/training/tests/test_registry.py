"""From the template to a promoted version, on a real MLflow server."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from tideflow_training import registry
from tideflow_training.cli import main
from tideflow_training.digest import folder_digest
from tideflow_training.registry import RegistryError

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "models/training/template"
NAME = "belt_wear"


class Server(NamedTuple):
    """An MLflow server of these tests."""

    url: str
    folder: Path
    client: MlflowClient


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real one on a free port, which ends with the tests however they end."""
    folder = tmp_path_factory.mktemp("mlflow")
    script = [str(ROOT / "scripts/mlflow.sh")]
    where = ["--dir", str(folder)]
    started = subprocess.run(
        [*script, "start", *where, "--while", str(os.getpid())], capture_output=True, text=True
    )
    assert started.returncode == 0, started.stdout + started.stderr
    url = started.stdout.strip().removeprefix("MLFLOW_TRACKING_URI=")
    yield Server(url, folder, MlflowClient(url, url))
    subprocess.run([*script, "stop", *where], check=True)


class Mine:
    """The template, copied and filled in; trained and promoted by the command line."""

    def __init__(self, server: Server, folder: Path):
        self.server, self.folder = server, folder
        shutil.copytree(TEMPLATE, folder)
        for name in ("model.py", "gates.toml"):
            text = (folder / name).read_text(encoding="utf-8")
            assert "bearing_wear" in text
            (folder / name).write_text(text.replace("bearing_wear", NAME), encoding="utf-8")

    def run(self, *arguments) -> int:
        known = ["--registry", self.server.url, "--gates", str(self.folder / "gates.toml")]
        return main([*map(str, arguments), *known])

    def train(self, *options) -> int:
        out = ["--out", self.folder / "model"]
        return self.run("train", self.folder / "model.py", *out, *options)

    def promote(self, *options) -> int:
        return self.run("promote", NAME, *options)

    def champion(self) -> str:
        return str(self.server.client.get_model_version_by_alias(NAME, "champion").version)

    def tags(self, version) -> dict:
        tags = self.server.client.get_model_version(NAME, str(version)).tags
        return {key.removeprefix("tideflow."): value for key, value in tags.items()}


@pytest.fixture(scope="module")
def mine(server, tmp_path_factory) -> Mine:
    """Three versions: fair, worse, good."""
    mine = Mine(server, tmp_path_factory.mktemp("mine") / "mine")
    for epochs in (20, 1, 60):
        assert mine.train("--epochs", epochs) == 0
    return mine


def test_a_run_holds_all_that_is_known_of_it(server, mine):
    version = server.client.get_model_version(NAME, "3")
    run = server.client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "1", "epochs": "60", "rows": "2000"}
    assert {"train_loss", "evaluation_rmse", "evaluation_mean_error"} <= set(run.data.metrics)
    curve = server.client.get_metric_history(run.info.run_id, "epoch_train_loss")
    assert [each.step for each in curve] == list(range(1, 61))
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert run.data.tags["mlflow.source.git.commit"] == commit
    assert run.data.tags["tideflow.git_dirty"] in ("true", "false")
    assert "made-up bearing" in run.data.tags["mlflow.note.content"]

    files = Path(download_artifacts(run_id=run.info.run_id, tracking_uri=server.url))
    for name in ("loss", "residuals"):
        assert (files / f"plots/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "tensorflow-cpu==2.21.0\n" in (files / "environment.txt").read_text().lower().replace(
        "_", "-"
    )
    manifest = json.loads((files / "model/manifest.json").read_text())
    assert run.data.tags["tideflow.data_digest"] == manifest["data_digest"]
    assert run.data.tags["tideflow.digest"] == folder_digest(files / "model")
    # The manifest knows the number that the registry gave.
    assert (manifest["name"], manifest["version"]) == (NAME, "3")


def test_a_version_is_downloaded_with_its_digest(server, mine, tmp_path):
    uri = server.client.get_model_version_download_uri(NAME, "3")
    folder = Path(download_artifacts(uri, tracking_uri=server.url, dst_path=str(tmp_path)))
    assert folder_digest(folder) == mine.tags(3)["digest"] == folder_digest(mine.folder / "model")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"saved_model.pb", "manifest.json", "golden.json", "variables/variables.index"} <= names


def test_an_alias_moves_only_to_a_version_that_is_good_enough_and_back(mine, capsys):
    assert mine.promote("--candidate", 1) == 0
    assert mine.champion() == "1"
    said = capsys.readouterr().out
    assert "version 1 against no champion" in said and "at most 0.5" in said
    assert mine.tags(1)["champion.decision"] == "accepted"
    assert mine.tags(1)["champion.replaced"] == ""

    assert mine.promote("--candidate", 2) == 1
    assert mine.champion() == "1"
    said = capsys.readouterr().out
    assert "not reached" in said and "refused: rmse is " in said
    assert mine.tags(2)["champion.decision"].startswith("refused: rmse is ")
    figures = json.loads(mine.tags(2)["champion.figures"])
    assert figures["candidate"]["rmse"] > figures["champion"]["rmse"]

    # The newest version, where none is named.
    assert mine.promote() == 0
    assert mine.champion() == "3"
    assert mine.tags(3)["champion.replaced"] == "1"
    assert mine.promote("--candidate", 3) == 1
    assert "is the champion already" in capsys.readouterr().out

    assert mine.promote("--back") == 0
    assert mine.champion() == "1"
    assert mine.tags(3)["champion.decision"] == "taken back, for version 1"
    assert mine.promote("--back") == 2
    assert "version 1 of `belt_wear` has replaced none" in capsys.readouterr().err
    assert mine.promote("--alias", "trial") == 0
    assert (mine.champion(), mine.tags(3)["trial.decision"]) == ("1", "accepted")
    # As where the recipe cannot evaluate version 3 any more.
    capsys.readouterr()
    assert mine.promote("--candidate", 1, "--alias", "trial", "--limits-only") == 0
    assert "version 1 against no trial, the limits alone" in capsys.readouterr().out
    assert (mine.tags(1)["trial.decision"], mine.tags(1)["trial.replaced"]) == ("accepted", "3")


def test_fault_an_alias_that_moves_during_the_evaluation_is_left_where_it_is(
    mine, monkeypatch, capsys
):
    found = iter((None, "2"))
    monkeypatch.setattr(registry.Registry, "alias", lambda *_: next(found))
    monkeypatch.setattr(registry.Registry, "move", lambda *_: pytest.fail("moved"))
    assert mine.promote("--candidate", 3, "--alias", "contested") == 1
    assert "`contested` has moved to version 2 meanwhile" in capsys.readouterr().out


def test_fault_a_version_whose_files_have_changed_is_refused(server, mine, capsys):
    assert mine.train("--epochs", 20) == 0
    (number,) = {int(v.version) for v in server.client.search_model_versions(f"name='{NAME}'")} - {
        1,
        2,
        3,
    }
    for candidate in (number, 3):
        assert mine.promote("--candidate", candidate, "--alias", "kept") == 0
    server.client.set_registered_model_alias(NAME, "spoilt", str(number))
    run = server.client.get_model_version(NAME, str(number)).run_id
    (golden,) = server.folder.glob(f"artifacts/*/{run}/artifacts/model/golden.json")
    golden.write_text("{}")
    assert mine.promote("--candidate", number) == 2
    assert f"version {number} of `belt_wear`: expected digest" in capsys.readouterr().err
    # Nothing goes back to it, and what goes on without it is said.
    assert mine.promote("--back", "--alias", "kept") == 2
    assert str(server.client.get_model_version_by_alias(NAME, "kept").version) == "3"
    assert mine.promote("--candidate", 3, "--alias", "spoilt") == 2
    assert "`--limits-only` judges the candidate without it" in capsys.readouterr().err
    assert mine.promote("--candidate", 3, "--alias", "spoilt", "--limits-only") == 0
    # One whose training was killed before the end, and which nobody asks for by default.
    server.client.delete_model_version_tag(NAME, str(number), "tideflow.digest")
    assert mine.promote("--candidate", number) == 2
    assert (
        f"version {number} of `belt_wear` has no tag `tideflow.digest`" in capsys.readouterr().err
    )
    assert registry.Registry(server.url).newest(NAME) == "3"


def test_fault_a_training_that_fails_leaves_a_failed_run_and_no_version(server, mine, capsys):
    text = (mine.folder / "model.py").read_text(encoding="utf-8")
    name = "failing"
    broken = text.replace(NAME, name).replace(
        '"features": features}', '"features": features * np.inf}'
    )
    path = mine.folder / "failing.py"
    path.write_text(broken, encoding="utf-8")
    gates = (mine.folder / "gates.toml").read_text(encoding="utf-8").replace(NAME, name)
    (mine.folder / "failing.toml").write_text(gates, encoding="utf-8")
    command = ["train", str(path), "--registry", server.url, "--out", str(mine.folder / "failed")]
    assert main([*command, "--gates", str(mine.folder / "failing.toml")]) == 2
    assert "`failing` gives outputs that are not finite" in capsys.readouterr().err
    experiment = server.client.get_experiment_by_name(name)
    (run,) = server.client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert server.client.search_model_versions(f"name='{name}'") == []


def test_a_fleet_of_ones_own_is_judged_on_windows_and_faults_in_files(
    server, trained, faulty, tmp_path, capsys
):
    files = {"windows": faulty.windows_file, "labels": faulty.labels_file}
    gates = tmp_path / "gates.toml"
    text = (
        f"[mine]\nrecipe = 'health'\nevaluation = {{ windows = '{files['windows']}', "
        f"labels = '{files['labels']}'DIGEST }}\n"
        "[mine.figures.auc]\nbetter = 'higher'\nlimit = 0.9\nat_most_worse = 0.0\n"
    )
    gates.write_text(text.replace("DIGEST", ""))
    known = ["--registry", server.url, "--gates", str(gates)]
    train = ["train", "health", "--name", "mine", "--epochs", "20", "--out", str(tmp_path / "m")]
    assert main([*train, "--windows", str(trained.windows_file), *known]) == 0
    assert "30 faults from files" in capsys.readouterr().out
    run = server.client.search_runs([server.client.get_experiment_by_name("mine").experiment_id])[0]
    plots = {each.path for each in server.client.list_artifacts(run.info.run_id, "plots")}
    assert plots == {"plots/loss.png", "plots/scores.png", "plots/roc.png"}

    assert main(["promote", "mine", *known]) == 2
    content = b"".join(files[key].read_bytes() for key in ("windows", "labels"))
    digest = hashlib.sha256(content).hexdigest()
    assert f"expected a set with digest ``, found one with `{digest}`" in capsys.readouterr().err
    gates.write_text(text.replace("DIGEST", f", digest = '{digest}'"))
    assert main(["promote", "mine", *known]) == 0


def test_commands_for_programs_register_nothing_unasked(server, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    command = ["health", "--windows", str(trained.windows_file), "--epochs", "1"]
    assert main([*command, "--name", "quiet", "--out", str(tmp_path / "m")]) == 0
    with pytest.raises(MlflowException):
        server.client.get_registered_model("quiet")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["promote", "nobody"], "no gate for `nobody`"),
        (["promote", "mock_iot_model"], "no version of `mock_iot_model`"),
        (["promote", "nobody", "--back"], "aliases of `nobody`"),
        (["promote", "belt_wear", "--back", "--alias", "none"], "has no alias `none`"),
        (["train", "mock_iot_model", "--model-version", "7"], "the registry numbers versions"),
        (["train", "mock_iot_modell"], "no model `mock_iot_modell`: expected `complex_iot_model`"),
        (["train", "none.py"], "no recipe `none.py`: there is no such file"),
    ],
)
def test_what_cannot_be_ends_with_2_and_says_why(
    server, mine, monkeypatch, capsys, command, message
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    assert main(command) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error
    assert message in error


def test_fault_no_server_is_noticed_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["promote", "mock_iot_model"]) == 2
    assert "promote needs --registry, or MLFLOW_TRACKING_URI" in capsys.readouterr().err
    nobody = "http://127.0.0.1:9"
    command = ["train", "mock_iot_model", "--registry", nobody, "--out", str(tmp_path / "m")]
    assert main(command) == 2
    assert f"no MLflow server answers at `{nobody}`" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    with pytest.raises(RegistryError, match="no MLflow server answers"):
        registry.Registry(nobody)
