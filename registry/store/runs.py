"""MLflow's runs: what was set, measured, read and made, the way an MLflow user expects it."""

from __future__ import annotations

import getpass
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from registry.bundles.bundle import Bundle
from registry.bundles.manifest import PICTURES_FOLDER, AnyManifest, Kind, Origin
from registry.model_page import description, parameters, title
from registry.owner import this_process
from registry.steps import Step
from registry.store.artifacts import list_names, upload_file, upload_folder
from registry.store.client import Store, error_code
from registry.store.patience import create_once
from registry.version import OWNER_TAG, TAG_PREFIX

logger = logging.getLogger(__name__)

_MAX_METRICS_A_BATCH = 500
_MAX_PARAMS_A_BATCH = 100
_MAX_PARAM_LENGTH = 6000
MAX_RUN_TAG_LENGTH = 8000  # MLflow's own limit for a run
NOTE_TAG = "mlflow.note.content"
"""MLflow shows its Markdown as the description of a run or a LoggedModel."""


@dataclass(frozen=True)
class RunLog:
    """A run that is under way.

    Attributes:
        store: where it is logged.
        run_id: MLflow's.
    """

    store: Store
    run_id: str

    def log_origin(self, origin: Origin, *, context: str = "splits") -> None:
        """Settings as parameters (nested ones as ``outer.inner``), data as a dataset.

        Args:
            origin: what to log.
            context: what the data was there for, as MLflow shows it beside the dataset.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

        flat = {**flattened(origin.settings), "seed": str(origin.seed)}
        params = [Param(legal_key(key), value[:_MAX_PARAM_LENGTH]) for key, value in flat.items()]
        distinct = list({param.key: param for param in params}.values())
        for start in range(0, len(distinct), _MAX_PARAMS_A_BATCH):
            self._log(params=distinct[start : start + _MAX_PARAMS_A_BATCH])
        tags = {f"{TAG_PREFIX}software.{k}": v for k, v in origin.software.items()}
        tags[f"{TAG_PREFIX}data_source"] = origin.data_source
        tags[f"{TAG_PREFIX}data_fingerprint"] = origin.data_fingerprint
        if origin.git_commit:
            tags["mlflow.source.git.commit"] = origin.git_commit
        self._log(tags=[RunTag(key, value) for key, value in tags.items()])
        if not origin.data_source:  # as of a patch that no images judged
            return
        name, digest = dataset_of(origin)
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="patchbay",
            source=json.dumps({"source": origin.data_source}),
        )
        tag = InputTag("mlflow.data.context", context)
        self.store.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [tag])])

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Metrics of the run."""
        self.log_history([metrics], first_step=step)

    def log_model_metrics(
        self,
        model_id: str,
        free: Mapping[str, float],
        of_images: Mapping[str, float],
        origin: Origin,
        *,
        step: int = 0,
    ) -> None:
        """Metrics of a LoggedModel, which are the run's, too.

        Args:
            model_id: the LoggedModel; the run may have made it or read it.
            free: those that name no data set.
            of_images: those that name the origin's.
            origin: names it.
            step: a run's metrics of two models need two.
        """
        from mlflow.entities import Metric

        name, digest = dataset_of(origin)
        data = {"dataset_name": name, "dataset_digest": digest} if origin.data_source else {}
        model = {"model_id": model_id, "run_id": self.run_id}
        now = int(time.time() * 1000)
        self.log_in_batches(
            [
                Metric(legal_key(key), float(value), now, step, **model, **named)
                for values, named in ((free, {}), (of_images, data))
                for key, value in values.items()
            ]
        )

    def describe(self, text: str) -> None:
        """Say in Markdown what the run did."""
        from mlflow.entities import RunTag

        self._log(tags=[RunTag(NOTE_TAG, text[:MAX_RUN_TAG_LENGTH])])

    def log_history(
        self,
        history: Sequence[Mapping[str, float]],
        *,
        first_step: int = 0,
        prefix: str = "",
    ) -> None:
        """One mapping a step, in order; a prefix keeps a curve apart from a final value."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(prefix + legal_key(key), float(value), now, step, run_id=self.run_id)
            for step, row in enumerate(history, start=first_step)
            for key, value in row.items()
        ]
        self.log_in_batches(metrics)

    def log_lineage(self, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """LoggedModels that were read and made, by id."""
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        if inputs:
            models = [LoggedModelInput(model_id) for model_id in inputs]
            self.store.client.log_inputs(self.run_id, models=models)
        if outputs:
            made = [LoggedModelOutput(model_id, step) for step, model_id in enumerate(outputs)]
            self.store.client.log_outputs(self.run_id, made)

    def create_model(
        self,
        manifest: AnyManifest,
        name: str,
        tags: Mapping[str, str],
        parents: Sequence[str] | None = None,
    ) -> str:
        """Make a LoggedModel that has no files and is not ready yet; gives its id.

        Args:
            manifest: of its bundle.
            name: to register it under.
            tags: see `registry.version.version_tags`.
            parents: addresses of its parents here; None for the manifest's.
        """
        return self._create_logged_model(
            name=title(name, manifest),
            tags={**tags, **_made_here(), NOTE_TAG: description(manifest, parents)},
            params=parameters(manifest, parents),
            model_type=manifest.kind,
        )

    def upload(self, bundle: Bundle, model_id: str) -> None:
        """Copy a bundle's files to a LoggedModel.

        Raises:
            BundleError: if the store names a place for them where files may not lie.
        """
        location = str(self.store.client.get_logged_model(model_id).artifact_location)
        upload_folder(self.store, location, bundle.folder)

    def _create_logged_model(self, *, tags: Mapping[str, str], **arguments: Any) -> str:
        client, experiment_id = self.store.client, self.store.experiment_id
        mine = f"source_run_id = '{self.run_id}' AND tags.`{TAG_PREFIX}digest` = "
        mine += f"'{tags[f'{TAG_PREFIX}digest']}'"
        model = create_once(
            lambda: client.create_logged_model(
                experiment_id, source_run_id=self.run_id, tags=tags, **arguments
            ),
            lambda: client.search_logged_models([experiment_id], filter_string=mine),
            "create_logged_model",
        )
        return str(model.model_id)

    def finalize(self, model_id: str, *, ready: bool) -> None:
        """Say that a LoggedModel is complete, or that it will never be."""
        if ready:
            self.store.client.finalize_logged_model(model_id, "READY")
            return
        try:
            self.store.client.finalize_logged_model(model_id, "FAILED")
        except Exception:  # the error that led here matters more
            logger.debug("could not mark %s as failed", model_id, exc_info=True)

    def upload_pictures(self, pictures: Sequence[Path]) -> None:
        """Files beside the run, in its ``pictures`` folder; raises as `upload`."""
        self.upload_files(pictures, PICTURES_FOLDER)

    def upload_files(self, files: Sequence[Path], folder: str = "") -> None:
        """Files beside the run, under their own names; raises as `upload`."""
        location = self._location() if files else ""
        for file in files:
            upload_file(self.store, location, file, folder)

    def list_pictures(self) -> list[str]:
        """The names of the files in the run's ``pictures`` folder, sorted; none if it is gone."""
        from mlflow.exceptions import MlflowException

        try:
            return list_names(self.store, self._location(), PICTURES_FOLDER)
        except MlflowException as error:
            if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
            return []

    def _location(self) -> str:
        return str(self.store.client.get_run(self.run_id).info.artifact_uri)

    def log_in_batches(self, metrics: Sequence[Any]) -> None:
        """MLflow's ``Metric`` entities, as many at once as it takes."""
        for start in range(0, len(metrics), _MAX_METRICS_A_BATCH):
            self._log(metrics=metrics[start : start + _MAX_METRICS_A_BATCH])

    def _log(self, **entries: Sequence[Any]) -> None:
        self.store.client.log_batch(self.run_id, **entries)


@contextmanager
def run_log(
    store: Store, name: str, kind: Kind, step: str, more_tags: Mapping[str, str] | None = None
) -> Iterator[RunLog]:
    """A run around one step; FINISHED at the end, FAILED if anything passes through.

    Args:
        store: where to log.
        name: what it makes, shown as the run's name.
        kind: what kind of model it makes.
        step: training, decomposition, patching, or how an alias moves.
        more_tags: to begin with.
    """
    run_id = _create_run(store, f"{step}: {name}", {**(more_tags or {}), **_ours(kind, step)})
    store.on_step(Step.RUN_STARTED)
    try:
        yield RunLog(store, run_id)
    except BaseException:
        try:
            store.client.set_terminated(run_id, "FAILED")
        except Exception:  # the error that led here matters more
            logger.debug("could not mark run %s as failed", run_id, exc_info=True)
        raise
    store.client.set_terminated(run_id, "FINISHED")
    store.on_step(Step.RUN_ENDED)


def _ours(kind: Kind, step: str) -> dict[str, str]:
    return {
        f"{TAG_PREFIX}kind": kind,
        f"{TAG_PREFIX}step": step,
        OWNER_TAG: this_process(),
    }


def _made_here() -> dict[str, str]:
    return {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "patchbay",
    }


def _create_run(store: Store, run_name: str, tags: Mapping[str, str]) -> str:
    request = uuid4().hex  # by which the run is found if the answer is lost
    all_tags = {
        **_made_here(),
        **tags,
        f"{TAG_PREFIX}request": request,
    }
    client, experiment_id = store.client, store.experiment_id
    mine = f"tags.`{TAG_PREFIX}request` = '{request}'"
    run = create_once(
        lambda: client.create_run(experiment_id, run_name=run_name, tags=all_tags),
        lambda: client.search_runs([experiment_id], filter_string=mine),
        "create_run",
    )
    return str(run.info.run_id)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as one level: ``{"a": {"b": 1}}`` becomes ``{"a.b": "1"}``."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat.update(flattened(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def dataset_of(origin: Origin) -> tuple[str, str]:
    """The name and the digest by which MLflow knows the data."""
    return origin.data_source[:500] or "unnamed", origin.data_fingerprint[:12] or "unknown"


def legal_key(key: str) -> str:
    """A metric's or a parameter's name with what MLflow doesn't take written as ``_``."""
    # MLflow takes letters, digits and "_-. /:" and reads the key as a path.
    legal = "".join(c if c.isalnum() or c in "_-. " else "_" for c in key).strip(". ")
    return legal[:250] or "_"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
