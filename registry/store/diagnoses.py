"""Diagnoses as runs of MLflow that read a version's LoggedModel and make nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modularizer.diagnosis import Diagnosis
from modularizer.diagnosis_pictures import save_diagnosis_pictures
from registry.bundles.manifest import Origin
from registry.bundles.strict_json import dump_strict_json, parse_strict_json
from registry.diagnoses import DiagnosedVersion, StoredDiagnosis
from registry.errors import BundleError
from registry.model_page import codes, link
from registry.origin import origin_of
from registry.store.client import Store
from registry.store.runs import NOTE_TAG, RunLog, dataset_of, legal_key, run_log
from registry.version import TAG_PREFIX, Version

logger = logging.getLogger(__name__)

DIAGNOSIS_FILE = "diagnosis.json"
_STEP = "diagnosis"
_MODEL_TAG, _URI_TAG = f"{TAG_PREFIX}diagnosed_model", f"{TAG_PREFIX}diagnosed_uri"
_SPLIT_TAG, _MARKED_TAG = f"{TAG_PREFIX}split", f"{TAG_PREFIX}worth_patching"
_SOURCE_TAG, _FINGERPRINT_TAG = f"{TAG_PREFIX}data_source", f"{TAG_PREFIX}data_fingerprint"
_MAX_MARKED_LENGTH = 5000  # MLflow takes 8,000
_MAX_KEY_LENGTH = 220  # of a class's part; MLflow takes 250
_MOST = 1000


def store_diagnosis(store: Store, version: Version, record: DiagnosedVersion) -> str:
    """Log a diagnosis as a run of its own; gives the run's id.

    The version's LoggedModel and the data are the run's inputs. Metrics are those of the run and
    of the LoggedModel. The JSON and the pictures are artifacts; the bundle stays as it is.

    Raises:
        BundleError: if it can't be stored as it is.
    """
    document = dump_strict_json(record.as_json(), DIAGNOSIS_FILE)
    with run_log(store, f"{version.name}/{version.version}", version.kind, _STEP) as run:
        origin = origin_of(record.provenance)
        run.log_origin(origin, context=record.split)
        run.log_lineage(inputs=[version.model_id], outputs=[])
        _tag(run, version, record)
        _log_metrics(run, version.model_id, origin, record.diagnosis)
        with TemporaryDirectory(prefix="patchbay-") as temporary:
            file = Path(temporary, DIAGNOSIS_FILE)
            file.write_bytes(document)
            run.upload_files([file])
            run.upload_pictures(save_diagnosis_pictures(record.diagnosis, Path(temporary)))
    return run.run_id


def stored_diagnoses(store: Store, version: Version) -> list[StoredDiagnosis]:
    """The diagnoses stored with a version, the newest first, 1,000 at most.

    Those whose run did not finish are left out, and those whose tags or metrics were changed
    beyond reading, with a warning in the log.
    """
    runs = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{_MODEL_TAG}` = '{version.model_id}' and attributes.status = 'FINISHED'",
        max_results=_MOST,
        order_by=["attributes.start_time DESC"],
    )
    found = []
    for run in runs:
        try:
            found.append(_stored(run))
        except (KeyError, TypeError, ValueError, OverflowError, BundleError) as error:
            logger.warning("diagnosis %s can't be read: %r", run.info.run_id, error)
    return found


def metric_keys(class_names: Sequence[str]) -> list[str]:
    """A class's part of its metrics' names: what MLflow takes, and distinct.

    Example:
        >>> metric_keys(["cat", "a/b", "a:b"])
        ['cat', 'a_b', 'a_b 2']
    """
    keys: list[str] = []
    taken: set[str] = set()
    for name in class_names:
        first = key = legal_key(name)[:_MAX_KEY_LENGTH].rstrip(". ") or "_"
        number = 1
        while key in taken:
            number += 1
            key = f"{first} {number}"
        taken.add(key)
        keys.append(key)
    return keys


def _tag(run: RunLog, version: Version, record: DiagnosedVersion) -> None:
    from mlflow.entities import RunTag

    marked = list(record.diagnosis.worth_patching)
    while len(json.dumps(marked)) > _MAX_MARKED_LENGTH:
        marked.pop()
    tags = {
        _MODEL_TAG: version.model_id,
        _URI_TAG: version.uri,
        _SPLIT_TAG: record.split,
        _MARKED_TAG: json.dumps(marked),
        NOTE_TAG: (
            f"Diagnosis of {link(version.uri)} on {record.diagnosis.images:,} {record.split} "
            f"images. Worth a patch: {codes(record.diagnosis.worth_patching) or 'no class'}."
        ),
    }
    run.store.client.log_batch(run.run_id, tags=[RunTag(*pair) for pair in tags.items()])


def _log_metrics(run: RunLog, model_id: str, origin: Origin, diagnosis: Diagnosis) -> None:
    """Metrics of the run and the model, each with the data that it is of."""
    from mlflow.entities import Metric

    values: dict[str, float] = {
        "macro_f1": diagnosis.macro_f1,
        "accuracy": diagnosis.accuracy,
        "images": diagnosis.images,
        "worth_patching": len(diagnosis.worth_patching),
    }
    for key, one in zip(metric_keys(diagnosis.class_names), diagnosis.classes, strict=True):
        values[f"support/{key}"] = one.support
        for metric in ("f1", "precision", "recall"):
            value = getattr(one, metric)
            if value is not None:
                values[f"{metric}/{key}"] = value
    now, (name, digest) = int(time.time() * 1000), dataset_of(origin)
    run.log_in_batches(
        [
            Metric(
                key,
                float(value),
                now,
                0,
                model_id=model_id,
                dataset_name=name,
                dataset_digest=digest,
                run_id=run.run_id,
            )
            for key, value in values.items()
        ]
    )


def _stored(run: Any) -> StoredDiagnosis:
    tags, metrics = run.data.tags, run.data.metrics
    marked = parse_strict_json(tags[_MARKED_TAG].encode(), _MARKED_TAG)
    return StoredDiagnosis(
        run_id=str(run.info.run_id),
        created=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        user=tags.get("mlflow.user", "unknown"),
        split=tags[_SPLIT_TAG],
        data_source=tags[_SOURCE_TAG],
        data_fingerprint=tags[_FINGERPRINT_TAG],
        images=int(metrics["images"]),
        accuracy=float(metrics["accuracy"]),
        macro_f1=float(metrics["macro_f1"]),
        worth_patching=tuple(str(name) for name in marked),
        worth_patching_count=int(metrics["worth_patching"]),
    )
