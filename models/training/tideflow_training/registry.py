"""Runs and versions of models on an MLflow server."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The server is asked before anything is trained; one that then goes away is not waited for long.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import requests
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from tideflow_training.digest import folder_digest
from tideflow_training.provenance import environment, git_commit
from tideflow_training.recipe import Evaluation, Trained

# The folder of a run's artifacts that is the model's.
MODEL = "model"
# On a version: the digest of its folder. One without it was never finished.
DIGEST = "tideflow.digest"


class RegistryError(ValueError):
    """A server that does not answer, or does not have what was asked for."""


@contextmanager
def _answered(what: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, requests.RequestException) as error:
        raise RegistryError(f"{what}: {error}") from error


class Registry:
    """An MLflow server."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        try:
            requests.get(f"{self.url}/health", timeout=10).raise_for_status()
        except requests.RequestException as error:
            why = type(error).__name__
            raise RegistryError(f"no MLflow server answers at `{url}` ({why})") from error
        self._client = MlflowClient(self.url, self.url)

    @contextmanager
    def run(self, name: str, about: str) -> Iterator[Run]:
        """A run of the experiment `name`, which has failed if anything in it does."""
        with _answered(f"starting a run of `{name}` at `{self.url}`"):
            found = self._client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else self._client.create_experiment(name)
            tags = {"mlflow.note.content": about, "mlflow.source.name": "tideflow_training"}
            made = self._client.create_run(experiment, tags=tags)
            page = f"{self.url}/#/experiments/{experiment}/runs/{made.info.run_id}"
            run = Run(self._client, made, name, about, page)
        try:
            yield run
        except BaseException:
            run.discard()
            raise
        with _answered(f"ending the run `{run.id}`"):
            self._client.set_terminated(run.id)

    def version(self, name: str, version: str) -> dict[str, str]:
        """The tags of a version."""
        with _answered(f"version {version} of `{name}`"):
            return dict(self._client.get_model_version(name, version).tags)

    def newest(self, name: str) -> str:
        """The number of the newest version that is finished."""
        with _answered(f"versions of `{name}`"):
            found = self._client.search_model_versions(f"name='{name}'")
        finished = [int(each.version) for each in found if DIGEST in each.tags]
        if not finished:
            raise RegistryError(
                f"no version of `{name}` at `{self.url}`: train one with --registry"
            )
        return str(max(finished))

    def alias(self, name: str, alias: str) -> str | None:
        """The version that the alias names."""
        with _answered(f"aliases of `{name}`"):
            aliases = self._client.get_registered_model(name).aliases
        found = aliases.get(alias)
        return None if found is None else str(found)

    def move(self, name: str, alias: str, version: str) -> None:
        """Lets the alias name another version."""
        with _answered(f"moving `{alias}` of `{name}` to version {version}"):
            self._client.set_registered_model_alias(name, alias, version)

    def tag(self, name: str, version: str, tags: dict[str, str]) -> None:
        """Writes tags on a version."""
        with _answered(f"tagging version {version} of `{name}`"):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, version, key, value)

    def download(self, name: str, version: str, folder: Path) -> Path:
        """Fetches a version below `folder`; its digest must be that of its tag."""
        wanted = self.version(name, version).get(DIGEST)
        if wanted is None:
            raise RegistryError(f"version {version} of `{name}` has no tag `{DIGEST}`")
        with _answered(f"downloading version {version} of `{name}`"):
            uri = self._client.get_model_version_download_uri(name, version)
            path = download_artifacts(uri, dst_path=str(folder), tracking_uri=self.url)
        found = folder_digest(path)
        if found != wanted:
            raise RegistryError(
                f"version {version} of `{name}`: expected digest {wanted} by its tag, found {found}"
            )
        return Path(path)


class Run:
    """A run that is under way."""

    def __init__(self, client: MlflowClient, run, name: str, about: str, page: str):
        self.id = run.info.run_id
        self.name = name
        # Where a browser shows it.
        self.page = page
        self._client, self._about = client, about
        self._source = f"{run.info.artifact_uri}/{MODEL}"
        self._version: str | None = None

    def reserve(self) -> str:
        """Registers a version and gives its number, which the manifest will hold.

        It counts once `finish` has given it its digest: `download` refuses it before.
        """
        with _answered(f"registering a version of `{self.name}`"):
            try:
                self._client.create_registered_model(self.name, description=self._about)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = self._client.create_model_version(
                self.name, self._source, self.id, await_creation_for=0
            )
        self._version = str(made.version)
        return self._version

    def finish(self, trained: Trained, folder: Path, evaluation: Evaluation | None) -> None:
        """Logs everything, uploads the model and completes its version."""
        with _answered(f"logging the run `{self.id}`"):
            self._log_numbers(trained, evaluation)
            with tempfile.TemporaryDirectory() as work:
                self._log_files(Path(work), trained, evaluation)
            self._client.log_artifacts(self.id, str(folder), MODEL)
            tags = {DIGEST: folder_digest(folder), "tideflow.data_digest": trained.data_digest}
            for key, value in tags.items():
                self._client.set_tag(self.id, key, value)
                self._client.set_model_version_tag(self.name, self._version, key, value)

    def discard(self) -> None:
        """The run has failed; so has the version, if one was registered."""
        # A server that has gone away is what has failed, and said so: nothing hangs on this.
        with suppress(MlflowException, requests.RequestException):
            self._client.set_terminated(self.id, "FAILED")
            if self._version is not None:
                self._client.delete_model_version(self.name, self._version)

    def _log_numbers(self, trained: Trained, evaluation: Evaluation | None) -> None:
        now = int(time.time() * 1000)
        metrics = dict(trained.metrics)
        if evaluation is not None:
            metrics.update((f"evaluation_{k}", v) for k, v in evaluation.metrics.items())
        logged = [Metric(name, value, now, 0) for name, value in metrics.items()]
        for name, losses in trained.curves.items():
            logged += [Metric(f"epoch_{name}", x, now, i) for i, x in enumerate(losses, start=1)]
        commit, _, dirty = git_commit().partition("-")
        tags = {"mlflow.source.git.commit": commit, "tideflow.git_dirty": str(bool(dirty)).lower()}
        # As many as one call takes.
        for start in range(0, len(logged), 1_000):
            self._client.log_batch(self.id, metrics=logged[start : start + 1_000])
        params = [Param(name, str(value)) for name, value in trained.parameters.items()]
        self._client.log_batch(self.id, params=params, tags=[RunTag(*tag) for tag in tags.items()])

    def _log_files(self, work: Path, trained: Trained, evaluation: Evaluation | None) -> None:
        from tideflow_training import plots

        drawn = dict(evaluation.plots) if evaluation else {}
        if trained.curves:
            drawn["loss"] = plots.curves(trained.curves)
        (work / "plots").mkdir()
        plots.save(drawn, work / "plots")
        (work / "environment.txt").write_text(environment(), encoding="utf-8")
        self._client.log_artifacts(self.id, str(work))
